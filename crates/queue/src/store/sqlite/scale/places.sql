-- The drained places, by name.
-- ?1: now. ?2: of this pool; NULL: of all. Rows: pool, instance, whether it leaves, epoch, drained_by, drain_until,
-- drained_at. Index: none; a row is a place, and those whose drain has ended are soon gone.
SELECT pool, instance, coalesce(leaving_until > ?1, 0), epoch, drained_by, drain_until, drained_at
FROM place
WHERE (drain_until IS NULL OR drain_until > ?1) AND (?2 IS NULL OR pool = ?2)
ORDER BY pool, instance
