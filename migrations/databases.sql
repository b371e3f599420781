-- One database for each service: neither can read the other's tables, even by mistake.
-- Run once by the Postgres of docker-compose.yml; without containers, the experiment creates the same two databases.
-- They sort text as English does and not by bytes: nothing may rely on the order of the database.
create database inventory template template0 encoding 'UTF8' locale_provider icu icu_locale 'en-US';
create database orders template template0 encoding 'UTF8' locale_provider icu icu_locale 'en-US';

-- The roles that inventory works as and that the audit reads as. The migrations of inventory create missing roles, without a
-- password, and grant their rights. These passwords are those of the laboratory.
create role inventory_service login password 'inventory';
create role inventory_auditor login password 'auditor';
