-- Announces a worker, as its place is told; a second time, after a lost answer, it changes nothing but the time. Drains
-- that have ended are gone already.
-- ?1 boot, ?2 instance, ?3 host, ?4 pid, ?5 pool, ?6 queues, ?7 kinds, ?8 slots, ?9 now, ?10 ordinal.
-- Rows: its state; none when the worker is taken for dead. Indexes: the primary keys.
INSERT INTO worker (boot, instance, host, pid, pool, queues, kinds, slots, busy, state, drain_epoch, drained_by,
    drain_until, leaving_until, started_at, beat_at, ordinal)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0,
    CASE WHEN p.pool IS NULL THEN 'active' WHEN p.leaving_until IS NULL THEN 'draining' ELSE 'leaving' END,
    coalesce(p.epoch, 0), p.drained_by, p.drain_until, p.leaving_until, ?9, ?9, ?10
FROM (SELECT 1)
LEFT JOIN place p ON p.pool = ?5 AND p.instance = ?2
WHERE true
ON CONFLICT (boot) DO UPDATE SET beat_at = excluded.beat_at WHERE worker.state <> 'dead'
RETURNING state
