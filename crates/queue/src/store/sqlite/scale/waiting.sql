-- Whether anything waits in these queues that a worker could start now.
-- ?1: the queues in JSON, as for lanes.sql. ?2: now. Rows: one: ready, due, suspects.
-- Those queues are asked that have a counter, as for outstanding.sql.
-- Indexes: ready_lane, later_queue, held_reason, each once a queue.
WITH bound (queue) AS MATERIALIZED (
    SELECT DISTINCT s.queue
    FROM json_each(?1) j
    CROSS JOIN queue_state s ON s.queue >= j.value ->> 0 AND (j.value ->> 1 IS NULL OR s.queue < j.value ->> 1)
)
SELECT
    EXISTS (SELECT 1 FROM bound b CROSS JOIN ready r ON r.queue = b.queue),
    EXISTS (SELECT 1 FROM bound b CROSS JOIN later l ON l.queue = b.queue AND l.run_at <= ?2),
    EXISTS (SELECT 1 FROM bound b CROSS JOIN held h ON h.queue = b.queue AND h.reason = 'suspect')
