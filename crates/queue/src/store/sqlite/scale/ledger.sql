-- The ledger of all pools, the latest first.
-- ?1: only what began by then; NULL: all. ?2: how many. Rows: as the table. Index: the primary key, backwards.
SELECT id, pool, weight, gist, detail, first_at, last_at, count
FROM decision
WHERE ?1 IS NULL OR first_at <= ?1
ORDER BY id DESC
LIMIT ?2
