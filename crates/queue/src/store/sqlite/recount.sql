-- Counts every job, in the shape of the counters: the audit's measure, and the only statement that may scan.
-- Rows: a lane each, those included that only the counters know.
SELECT queue, priority, kind, sum(ready) AS ready, sum(scheduled) AS scheduled, sum(held) AS held,
    sum(suspects) AS suspects, sum(running) AS running, sum(parked) AS parked, sum(completed) AS completed,
    sum(failed) AS failed, sum(cancelled) AS cancelled
FROM (
    SELECT queue, priority, kind, 1 AS ready, 0 AS scheduled, 0 AS held, 0 AS suspects, 0 AS running, 0 AS parked,
        0 AS completed, 0 AS failed, 0 AS cancelled
    FROM ready
    UNION ALL
    SELECT queue, priority, kind, 0, 1, 0, 0, 0, 0, 0, 0, 0 FROM later
    UNION ALL
    SELECT queue, priority, kind, 0, 0, 1, reason = 'suspect', 0, 0, 0, 0, 0 FROM held
    UNION ALL
    SELECT queue, priority, kind, 0, 0, 0, 0, 1, 0, 0, 0, 0 FROM running
    UNION ALL
    SELECT queue, priority, kind, 0, 0, 0, 0, 0, 1, 0, 0, 0 FROM parked
    UNION ALL
    SELECT queue, priority, kind, 0, 0, 0, 0, 0, 0, state = 'completed', state = 'failed', state = 'cancelled'
    FROM finished
    UNION ALL
    SELECT queue, priority, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM queue_state
)
GROUP BY queue, priority, kind
