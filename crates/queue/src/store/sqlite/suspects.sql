-- Suspects that wait, the first ones: enough to take one and to know whether another is left.
-- ?1: the queues in JSON; NULL is any. Rows: id, start_within_ms of up to two, in the order of claims. Index: held_reason.
SELECT h.id, coalesce((SELECT q.start_within_ms FROM queue q WHERE q.name = h.queue), 60000) AS start_within_ms
FROM held h
WHERE h.reason = 'suspect'
    AND CASE WHEN ?1 IS NULL THEN NOT (h.queue >= 'run:' AND h.queue < 'run;')
        ELSE h.queue IN (SELECT value FROM json_each(?1)) END
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.name = h.queue AND q.paused)
ORDER BY h.priority DESC, h.seq
LIMIT 2
