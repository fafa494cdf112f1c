-- The workers, in the order of their start. Rows: a worker each. Locks: none. Index: running_token.
SELECT w.boot, w.instance, w.host, w.pid, w.pool, w.queues, w.kinds, w.slots, w.busy, r.running,
       CASE WHEN w.state = 'draining' AND w.drain_until < clock_timestamp() THEN 'active' ELSE w.state END AS state,
       w.drain_epoch, w.drained_by, w.drain_until, w.started_at, w.beat_at, clock_timestamp() AS read_at
FROM headcount.worker w
CROSS JOIN LATERAL (SELECT count(*) AS running FROM headcount.running r WHERE r.boot = w.boot) r
ORDER BY w.started_at, w.boot
