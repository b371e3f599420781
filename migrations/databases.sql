-- One database per service: neither can read the other's tables, not even by mistake.
-- Run once by the Postgres of docker-compose.yml; natively, the experiment creates the same two.
create database inventory;
create database orders;
