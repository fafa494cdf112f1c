-- The workers, in the order of their start. Rows: a worker each, with the job that it has held for longest. Locks: none.
-- Index: running_token.
-- Of a drain that has ended nothing is shown, whether or not its worker's row says so yet.
SELECT w.boot, w.instance, w.host, w.pid, w.pool, w.queues, w.kinds, w.slots, w.busy, r.running, r.oldest, r.oldest_at,
       s.state, w.drain_epoch, CASE WHEN s.state IN ('draining', 'leaving') THEN w.drained_by END AS drained_by,
       CASE WHEN s.state IN ('draining', 'leaving') THEN w.drain_until END AS drain_until, w.started_at, w.beat_at,
       clock_timestamp() AS read_at
FROM headcount.worker w
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN w.state = 'leaving' AND (w.leaving_until < clock_timestamp()) IS NOT TRUE THEN w.state
        WHEN w.state IN ('draining', 'leaving')
            THEN CASE WHEN w.drain_until < clock_timestamp() THEN 'active' ELSE 'draining' END
        ELSE w.state
    END AS state
    OFFSET 0
) s
CROSS JOIN LATERAL (
    SELECT count(*) AS running, min(j.started_at) AS oldest_at,
           (array_agg(j.id ORDER BY j.started_at, j.id))[1] AS oldest
    FROM headcount.running j WHERE j.boot = w.boot
) r
ORDER BY w.started_at, w.boot
