-- The tables, views and sequences of the schema. $1 its name.
-- Rows: one each: its name, whether it is a sequence, and whether it belongs to who asks.
-- Locks: none.
SELECT c.relname::text AS name, c.relkind = 'S' AS sequence, pg_has_role(c.relowner, 'USAGE') AS ours
FROM pg_catalog.pg_class c
WHERE c.relnamespace = to_regnamespace($1) AND c.relkind IN ('r', 'v', 'S')
ORDER BY c.relname
