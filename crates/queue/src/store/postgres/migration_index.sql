-- Whether an index is there, and whole. $1 the schema's name  $2 the index.
-- Rows: at most one: valid (not while it is built, nor after that has failed), and its table. Locks: none.
SELECT i.indisvalid AS valid, quote_ident(t.relname) AS of
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = to_regnamespace($1) AND c.relname = $2
