-- One database per service: neither can read the other's tables, not even by mistake.
-- Run once by the Postgres of docker-compose.yml; natively, the experiment creates the same two.
create database inventory;
create database orders;

-- Who inventory works as, and who may look. Its migrations make these roles where they are missing, without
-- a password; what they may do is said there. The passwords are those of the laboratory.
create role inventory_service login password 'inventory';
create role inventory_auditor login password 'auditor';
