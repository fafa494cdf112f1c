-- When the next scheduled job of these queues is due.
-- ?1: the queues in JSON, as for lanes.sql. Rows: one, a time or NULL.
-- Those are asked that have a counter: its row is written with a queue's first job and stays.
-- Index: later_queue, once a queue.
WITH bound (queue) AS (
    SELECT DISTINCT s.queue
    FROM json_each(?1) j
    CROSS JOIN queue_state s ON s.queue >= j.value ->> 0 AND (j.value ->> 1 IS NULL OR s.queue < j.value ->> 1)
)
SELECT min((SELECT l.run_at FROM later l WHERE l.queue = b.queue ORDER BY l.run_at LIMIT 1)) FROM bound b
