-- Drains places, or renews their drains; those that have ended are gone already. A renewed drain keeps its number. One
-- without end is a person's, which a lease does not shorten, and a place that leaves goes on as it is.
-- ?1: JSON, rows of [pool, instance, a new number]. ?2: who orders it. ?3: its end, NULL is none. ?4: now.
-- Rows: pool, instance, epoch of each. Index: the primary key, once a row of ?1.
INSERT INTO place (pool, instance, epoch, drained_by, drained_at, drain_until)
SELECT value ->> 0, value ->> 1, value ->> 2, ?2, ?4, ?3
FROM json_each(?1)
WHERE true
ON CONFLICT (pool, instance) DO UPDATE SET
    drained_by = CASE
        WHEN leaving_until IS NOT NULL OR drain_until IS NULL AND ?3 IS NOT NULL THEN drained_by
        ELSE excluded.drained_by
    END,
    drain_until = CASE WHEN leaving_until IS NOT NULL OR drain_until IS NULL THEN drain_until ELSE excluded.drain_until END
RETURNING pool, instance, epoch
