-- Drains places, or renews their drains; end_drains.sql comes before it. A renewed drain keeps its number. One without
-- end is a person's, which a lease does not shorten, and a place that leaves goes on as it is.
-- $1 pool[]  $2 instance[]: a place each  $3 by whom  $4 lease in ms, NULL without end.
-- Rows: pool, instance, epoch of each place, once. Locks: the drains, in order. Index: the primary key.
INSERT INTO headcount.drain AS d (pool, instance, epoch, drained_by, drained_at, drain_until)
SELECT p.pool, p.instance, nextval('headcount.place'), $3, c.at, c.at + $4::bigint * interval '1 ms'
FROM (SELECT DISTINCT u.pool, u.instance FROM unnest($1::text[], $2::text[]) AS u (pool, instance)) p
CROSS JOIN (SELECT clock_timestamp() AS at OFFSET 0) c
ORDER BY p.pool, p.instance
ON CONFLICT (pool, instance) DO UPDATE
SET drained_by = CASE
        WHEN d.leaving_until IS NOT NULL OR (d.drain_until IS NULL AND excluded.drain_until IS NOT NULL)
            THEN d.drained_by
        ELSE excluded.drained_by
    END,
    drain_until = CASE
        WHEN d.leaving_until IS NOT NULL OR d.drain_until IS NULL THEN d.drain_until
        ELSE excluded.drain_until
    END
RETURNING pool, instance, epoch
