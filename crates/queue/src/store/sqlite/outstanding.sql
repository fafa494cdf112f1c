-- What these queues still have to do, without gate, pause or counters.
-- ?1: the queues in JSON; NULL is any. ?2: now. Rows: one: ready, due, scheduled, held, running.
-- Any is every queue that has a counter: its row is written with its first job and stays.
-- Indexes: ready_lane, later_queue, held_queue, running_queue, each once a queue.
WITH bound (queue) AS MATERIALIZED (
    SELECT value FROM json_each(?1)
    UNION ALL
    SELECT DISTINCT queue FROM queue_state WHERE ?1 IS NULL AND NOT (queue >= 'run:' AND queue < 'run;')
)
SELECT
    EXISTS (SELECT 1 FROM bound b CROSS JOIN ready r ON r.queue = b.queue),
    EXISTS (SELECT 1 FROM bound b CROSS JOIN later l ON l.queue = b.queue AND l.run_at <= ?2),
    EXISTS (SELECT 1 FROM bound b CROSS JOIN later l ON l.queue = b.queue AND l.run_at > ?2),
    EXISTS (SELECT 1 FROM bound b CROSS JOIN held h ON h.queue = b.queue),
    EXISTS (SELECT 1 FROM bound b CROSS JOIN running r ON r.queue = b.queue)
