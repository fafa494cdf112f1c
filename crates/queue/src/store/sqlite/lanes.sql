-- The heads of all lanes that have jobs of kinds that are not paused: what a claim chooses from.
-- ?1: the queues in JSON, rows of [start, end], compared by bytes; an end of NULL is none. ?2: how many of each lane.
-- Rows: queue, priority, start_within_ms, jobs (JSON, rows of [id, ready_at] in the order of becoming ready).
-- Index: ready_lane, by one descent a queue and a lane. A plain ORDER BY over all would sort the backlog. Jobs of a
-- paused kind are walked over; maintenance takes them out of the way.
WITH RECURSIVE
bound (queue, until) AS (
    SELECT (SELECT r.queue FROM ready r WHERE r.queue >= j.value ->> 0 ORDER BY r.queue LIMIT 1), j.value ->> 1
    FROM json_each(?1) j
    UNION ALL
    SELECT (SELECT r.queue FROM ready r WHERE r.queue > bound.queue ORDER BY r.queue LIMIT 1), until
    FROM bound
    WHERE bound.queue IS NOT NULL AND (until IS NULL OR bound.queue < until)
),
open (queue) AS (
    SELECT queue
    FROM bound
    WHERE queue IS NOT NULL
        AND (until IS NULL OR queue < until)
        AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.name = bound.queue AND q.paused)
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
    (SELECT json_group_array(json_array(id, ready_at)) FROM (
        SELECT r.id, r.ready_at
        FROM ready r
        WHERE r.queue = lane.queue
            AND r.priority = lane.priority
            AND r.kind NOT IN (SELECT k.kind FROM kind k WHERE k.paused)
            -- Here a claim that leaves kinds to others has lanes_spared.sql.
        ORDER BY r.seq
        LIMIT ?2
    )) AS jobs
FROM lane
WHERE priority IS NOT NULL
