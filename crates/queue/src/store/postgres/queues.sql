-- The counters of every lane as last folded, whatever the backlog; beside them those of five to six minutes ago.
-- Rows: a lane each. since_s: how long ago "before" is, or the store's making if that is later. unchanged: they stood as
-- they stand. before_…: as they stood; NULL: there were none.
-- Locks: none. Index: the newest versions by the primary keys of queue_state, lane_head and history; parked_lane.
WITH clock AS MATERIALIZED (
    SELECT c.at, date_trunc('minute', c.at - interval '5 minutes', 'UTC') AS before
    FROM (SELECT clock_timestamp() AS at OFFSET 0) c
)
SELECT s.queue, s.priority, s.kind,
       s.ready, s.scheduled, s.held, s.suspects, s.running,
       -- The release before does not say how many.
       coalesce(s.parked, (
           SELECT count(*) FROM headcount.parked j
           WHERE j.queue = s.queue AND j.priority = s.priority AND j.kind = s.kind
       )) AS parked,
       s.completed, s.failed, s.cancelled, s.arrived, s.deferred, s.promoted, s.returned, s.started, s.late, s.done,
       s.errored, s.run_ms, s.delays,
       coalesce(q.paused, false) AS paused, c.at AS read_at,
       CASE WHEN h.ready_at IS NOT NULL THEN extract(epoch FROM c.at - h.ready_at)::float8 END AS oldest_s,
       extract(epoch FROM c.at - greatest(c.before, m.at))::float8 AS since_s, s.at < c.before AS unchanged,
       b.arrived AS before_arrived, b.deferred AS before_deferred, b.promoted AS before_promoted,
       b.returned AS before_returned, b.started AS before_started, b.late AS before_late, b.done AS before_done,
       b.errored AS before_errored, b.run_ms AS before_run_ms, b.delays AS before_delays
FROM clock c
CROSS JOIN (SELECT min(m.installed_on) AS at FROM headcount.migration m) m
CROSS JOIN headcount.lane l
CROSS JOIN LATERAL (
    SELECT n.* FROM headcount.queue_state n
    WHERE n.queue = l.queue AND n.priority = l.priority AND n.kind = l.kind
    ORDER BY n.version DESC LIMIT 1
) s
LEFT JOIN LATERAL (
    SELECT n.ready_at FROM headcount.lane_head n
    WHERE n.queue = l.queue AND n.priority = l.priority
    ORDER BY n.version DESC LIMIT 1
) h ON true
LEFT JOIN LATERAL (
    -- A row tells how a minute ended: one that had not ended by then comes too late.
    SELECT n.* FROM headcount.history n
    WHERE n.queue = l.queue AND n.priority = l.priority AND n.kind = l.kind AND n.at < c.before
    ORDER BY n.at DESC LIMIT 1
) b ON true
LEFT JOIN headcount.queue q ON q.queue = l.queue
ORDER BY s.queue, s.priority DESC, s.kind
