-- One database for each service: neither can read the other's tables, even by mistake.
-- Run once by the Postgres of docker-compose.yml; without containers, the experiment creates the same two databases.
create database inventory;
create database orders;

-- The roles that inventory works as and that the audit reads as. The migrations of inventory create missing roles, without a
-- password, and grant their rights. These passwords are those of the laboratory.
create role inventory_service login password 'inventory';
create role inventory_auditor login password 'auditor';
