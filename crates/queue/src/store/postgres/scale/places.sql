-- The drained places by name. $1: of this pool; NULL: of all. Rows: pool, instance, whether it leaves, epoch, drained_by,
-- drain_until, drained_at. Locks: none. Index: none; a row is a place, and those whose drain has ended are soon gone.
SELECT d.pool, d.instance, coalesce(d.leaving_until >= c.at, false) AS leaving, d.epoch, d.drained_by, d.drain_until,
       d.drained_at
FROM headcount.drain d
CROSS JOIN (SELECT clock_timestamp() AS at OFFSET 0) c
WHERE ($1::text IS NULL OR d.pool = $1) AND (d.drain_until IS NULL OR d.drain_until >= c.at)
ORDER BY d.pool, d.instance
