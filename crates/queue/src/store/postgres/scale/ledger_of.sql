-- The ledger of a pool, the latest first. $1: only what began by then; NULL: all  $2 how many  $3 the pool.
-- Rows: as the table. Locks: none. Index: decision_pool.
SELECT d.id, d.pool, d.weight, d.gist, d.detail::text AS detail, d.first_at, d.last_at, d.count
FROM headcount.decision d
WHERE d.pool = $3 AND ($1::timestamptz IS NULL OR d.first_at <= $1)
ORDER BY -d.id
LIMIT $2::bigint
