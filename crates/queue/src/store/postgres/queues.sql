-- The counters of every lane as last folded, whatever the backlog.
-- Rows: a lane each. Locks: none. Index: the newest versions by the primary keys of queue_state and lane_head.
SELECT s.queue, s.priority, s.kind,
       s.ready, s.scheduled, s.held, s.running, s.completed, s.failed, s.cancelled, s.arrived, s.deferred,
       s.promoted, s.returned, s.started, s.late, s.done, s.errored, s.run_ms, s.delays,
       coalesce(q.paused, false) AS paused, clock_timestamp() AS read_at,
       CASE WHEN h.ready_at IS NOT NULL THEN extract(epoch FROM clock_timestamp() - h.ready_at)::float8 END AS oldest_s
FROM headcount.lane l
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
LEFT JOIN headcount.queue q ON q.queue = l.queue
ORDER BY s.queue, s.priority DESC, s.kind
