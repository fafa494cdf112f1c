-- Announces a worker. One that is known already, since the answer was lost, keeps its orders; one that was taken for
-- dead lives again, and what it still owns comes back by its beats.
-- ?1 boot, ?2 instance, ?3 host, ?4 pid, ?5 pool, ?6 queues, ?7 kinds, ?8 slots, ?9 now. Rows: one, its state.
INSERT INTO worker (boot, instance, host, pid, pool, queues, kinds, slots, busy, state, drain_epoch, started_at,
    beat_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 'active', 0, ?9, ?9)
ON CONFLICT (boot) DO UPDATE SET
    instance = excluded.instance,
    host = excluded.host,
    pid = excluded.pid,
    pool = excluded.pool,
    queues = excluded.queues,
    kinds = excluded.kinds,
    slots = excluded.slots,
    state = CASE state WHEN 'dead' THEN 'active' ELSE state END,
    beat_at = excluded.beat_at
RETURNING state
