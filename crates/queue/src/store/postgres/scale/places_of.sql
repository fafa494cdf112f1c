-- The places of workers. $1 boot[]. Rows: pool, instance, state of each that has one. Locks: none. Index: the primary key.
SELECT w.pool, w.instance, w.state FROM headcount.worker w
WHERE w.boot = ANY ($1::bigint[]) AND w.pool IS NOT NULL AND w.instance IS NOT NULL
