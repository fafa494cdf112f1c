-- What there is before a migration. $1 the schema's name.
-- Rows: one: whether the name needs no quotes, as every statement writes it; whether the schema is there; whether the
-- table of versions is. Locks: none.
SELECT quote_ident($1) = $1 AS plain, to_regnamespace($1) IS NOT NULL AS schema,
       to_regclass($1 || '.migration') IS NOT NULL AS versions
