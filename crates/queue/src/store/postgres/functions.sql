-- The functions of the schema. $1 its name. Rows: one each: its name, and its name with the types of what it takes, as a
-- GRANT wants it. Locks: none.
SELECT p.proname::text AS name, p.oid::regprocedure::text AS signature
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = to_regnamespace($1)
ORDER BY p.oid
