-- Database roles by their names. $1 name[]  $2 the schema's name.
-- Rows: each that is there: its name, the name as statements write it, and whether it owns something in the schema.
-- Locks: none.
SELECT r.rolname::text AS name, quote_ident(r.rolname) AS quoted,
       EXISTS (SELECT FROM pg_catalog.pg_class c
               WHERE c.relnamespace = to_regnamespace($2) AND c.relowner = r.oid) AS owner
FROM pg_catalog.pg_roles r
WHERE r.rolname = ANY ($1::text[])
