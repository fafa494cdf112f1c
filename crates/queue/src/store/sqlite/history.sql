-- The counters as they stood at a time. A lane without a row has not changed since.
-- ?1: the beginning of a minute. Rows: as the table, one a lane. Index: the primary keys, once a lane.
SELECT h.queue, h.priority, h.kind, h.arrived, h.deferred, h.promoted, h.returned, h.started, h.late, h.runs_completed,
    h.runs_failed, h.run_ms, h.delays
FROM queue_state s
CROSS JOIN history h ON h.queue = s.queue AND h.priority = s.priority AND h.kind = s.kind
WHERE h.at = (SELECT n.at FROM history n
    WHERE n.queue = s.queue AND n.priority = s.priority AND n.kind = s.kind AND n.at >= ?1 ORDER BY n.at LIMIT 1)
