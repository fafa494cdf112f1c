-- Scheduled jobs of these queues, counted by the step in which they fall due; paused queues and kinds are left out.
-- ?1: the queues in JSON, as for lanes.sql. ?2: now. ?3: the length of a step. ?4: up to this time. ?5: how many jobs.
-- Rows: step, from 1, and count. Those queues are asked that have a counter, as for next_due.sql.
-- Index: later_queue, once a queue; it is named, since later_due walks over all other queues' jobs.
WITH bound (queue) AS (
    SELECT DISTINCT s.queue
    FROM json_each(?1) j
    CROSS JOIN queue_state s ON s.queue >= j.value ->> 0 AND (j.value ->> 1 IS NULL OR s.queue < j.value ->> 1)
    WHERE NOT EXISTS (SELECT 1 FROM queue q WHERE q.name = s.queue AND q.paused)
)
SELECT due.step, count(*)
FROM (
    SELECT max((l.run_at - ?2 + ?3 - 1) / ?3, 1) AS step
    FROM bound b
    CROSS JOIN later l INDEXED BY later_queue ON l.queue = b.queue AND l.run_at <= ?4
    WHERE NOT EXISTS (SELECT 1 FROM kind k WHERE k.kind = l.kind AND k.paused)
    LIMIT ?5
) due
GROUP BY due.step
ORDER BY due.step
