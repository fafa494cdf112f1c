-- The ledger of a pool, the latest first.
-- ?1: only what began by then; NULL: all. ?2: how many. ?3: the pool. Rows: as the table. Index: decision_pool, backwards.
SELECT id, pool, weight, gist, detail, first_at, last_at, count
FROM decision
WHERE pool = ?3 AND (?1 IS NULL OR first_at <= ?1)
ORDER BY id DESC
LIMIT ?2
