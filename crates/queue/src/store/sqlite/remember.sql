-- Writes down the counters of lanes as they stood when the minute began, once a minute: the first change in it does so
-- before it is counted.
-- ?1: JSON, rows of [queue, priority, kind]. ?2: the minute's beginning. Rows: none. Index: the primary keys.
INSERT INTO history (queue, priority, kind, at, arrived, deferred, promoted, returned, started, late, runs_completed,
    runs_failed, run_ms, delays)
SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, ?2, coalesce(s.arrived, 0), coalesce(s.deferred, 0),
    coalesce(s.promoted, 0), coalesce(s.returned, 0), coalesce(s.started, 0), coalesce(s.late, 0),
    coalesce(s.runs_completed, 0), coalesce(s.runs_failed, 0), coalesce(s.run_ms, 0),
    (SELECT json_group_array(json_array(d.bucket, d.n)) FROM queue_delay d
        WHERE d.queue = s.queue AND d.priority = s.priority AND d.kind = s.kind)
FROM json_each(?1) j
LEFT JOIN queue_state s ON s.queue = j.value ->> 0 AND s.priority = j.value ->> 1 AND s.kind = j.value ->> 2
WHERE NOT EXISTS (SELECT 1 FROM history h
    WHERE h.queue = j.value ->> 0 AND h.priority = j.value ->> 1 AND h.kind = j.value ->> 2 AND h.at = ?2)
