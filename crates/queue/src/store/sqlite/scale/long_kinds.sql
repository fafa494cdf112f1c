-- The kinds whose attempts take longer than a worker's grace on average, as long as no more of their jobs wait and run
-- than there are slots for them below it.
-- ?1: the queues in JSON, as for lanes.sql. ?2: the grace in ms. ?3: the slots. Rows: a kind each, by name.
-- Index: the primary key of queue_state, which holds a row for a queue's priority and kind, whatever the backlog.
WITH long (kind, jobs) AS MATERIALIZED (
    SELECT s.kind, sum(s.ready + s.running)
    FROM json_each(?1) j
    CROSS JOIN queue_state s ON s.queue >= j.value ->> 0 AND (j.value ->> 1 IS NULL OR s.queue < j.value ->> 1)
    GROUP BY s.kind
    HAVING sum(s.runs_completed + s.runs_failed) > 0
        AND sum(s.run_ms) > sum(s.runs_completed + s.runs_failed) * ?2
)
SELECT kind FROM long WHERE (SELECT sum(jobs) FROM long) <= ?3 ORDER BY kind
