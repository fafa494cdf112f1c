-- Announces a worker; a second time, after a lost answer, it changes nothing but the time.
-- ?1 boot, ?2 instance, ?3 host, ?4 pid, ?5 pool, ?6 queues, ?7 kinds, ?8 slots, ?9 now.
-- Rows: its state; none when the worker is taken for dead.
INSERT INTO worker (boot, instance, host, pid, pool, queues, kinds, slots, busy, state, drain_epoch, started_at,
    beat_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 'active', 0, ?9, ?9)
ON CONFLICT (boot) DO UPDATE SET beat_at = excluded.beat_at WHERE worker.state <> 'dead'
RETURNING state
