-- Written by `./dev fix` from what the services declare (docs/services.md).
-- One database and one role for each service; no service can read another's.
-- The image runs this once, on an empty volume. It may be run again, after adding a service, say:
--   kubectl exec postgres-0 -- psql -U postgres -f /docker-entrypoint-initdb.d/databases.sql
\set users_password `cat /etc/postgres/secrets/users`
\set items_password `cat /etc/postgres/secrets/items`
\set auth_password `cat /etc/postgres/secrets/auth`

SELECT 'CREATE ROLE users' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'users') \gexec
ALTER ROLE users LOGIN PASSWORD :'users_password';
SELECT 'CREATE DATABASE users OWNER users' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'users') \gexec
REVOKE ALL ON DATABASE users FROM PUBLIC;

SELECT 'CREATE ROLE items' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'items') \gexec
ALTER ROLE items LOGIN PASSWORD :'items_password';
SELECT 'CREATE DATABASE items OWNER items' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'items') \gexec
REVOKE ALL ON DATABASE items FROM PUBLIC;

SELECT 'CREATE ROLE auth' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auth') \gexec
ALTER ROLE auth LOGIN PASSWORD :'auth_password';
SELECT 'CREATE DATABASE auth OWNER auth' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'auth') \gexec
REVOKE ALL ON DATABASE auth FROM PUBLIC;
