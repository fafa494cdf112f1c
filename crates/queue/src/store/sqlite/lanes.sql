-- The heads of all lanes that have jobs: what a claim chooses from.
-- ?1: the queues in JSON; NULL is any. ?2: how many of each lane.
-- Rows: queue, priority, start_within_ms, ids (JSON, in the order of becoming ready).
-- Index: ready_lane, by one descent a queue and a lane. A plain ORDER BY over all would sort the backlog.
WITH RECURSIVE
every (queue) AS (
    SELECT '' WHERE ?1 IS NULL
    UNION ALL
    SELECT (SELECT r.queue FROM ready r WHERE r.queue > every.queue ORDER BY r.queue LIMIT 1)
    FROM every
    WHERE every.queue IS NOT NULL
),
bound (queue) AS (
    SELECT value FROM json_each(?1)
    UNION ALL
    -- Private queues are not in "any".
    SELECT queue FROM every WHERE queue <> '' AND NOT (queue >= 'run:' AND queue < 'run;')
),
open (queue) AS (
    SELECT queue FROM bound WHERE NOT EXISTS (SELECT 1 FROM queue q WHERE q.name = bound.queue AND q.paused)
),
lane (queue, priority) AS (
    SELECT queue,
        (SELECT r.priority FROM ready r WHERE r.queue = open.queue ORDER BY r.priority DESC LIMIT 1)
    FROM open
    UNION ALL
    SELECT queue,
        (SELECT r.priority FROM ready r
            WHERE r.queue = lane.queue AND r.priority < lane.priority ORDER BY r.priority DESC LIMIT 1)
    FROM lane
    WHERE priority IS NOT NULL
)
SELECT queue, priority,
    coalesce((SELECT q.start_within_ms FROM queue q WHERE q.name = lane.queue), 60000) AS start_within_ms,
    (SELECT json_group_array(id) FROM (
        SELECT r.id FROM ready r WHERE r.queue = lane.queue AND r.priority = lane.priority ORDER BY r.seq LIMIT ?2
    )) AS ids
FROM lane
WHERE priority IS NOT NULL
