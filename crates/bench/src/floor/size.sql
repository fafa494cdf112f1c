-- What a store's tables take up, indexes and all, in bytes. $1 the schema. Rows: one. Locks: none that anybody waits for.
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r'
