-- When the next scheduled job of these queues is due.
-- ?1: the queues in JSON; NULL is any. Rows: one, a time or NULL. Index: later_queue, once a queue.
WITH bound (queue) AS (
    SELECT value FROM json_each(?1)
    UNION ALL
    SELECT DISTINCT queue FROM queue_state WHERE ?1 IS NULL AND NOT (queue >= 'run:' AND queue < 'run;')
)
SELECT min((SELECT l.run_at FROM later l WHERE l.queue = b.queue ORDER BY l.run_at LIMIT 1)) FROM bound b
