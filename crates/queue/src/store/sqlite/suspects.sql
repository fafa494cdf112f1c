-- Suspects that wait, the first ones: enough to take one and to know whether another is left.
-- ?1: the queues in JSON, as for lanes.sql. ?2: now. Rows: id, start_within_ms of up to two, in the order of claims.
-- Index: held_reason.
SELECT h.id, coalesce((SELECT q.start_within_ms FROM queue q WHERE q.name = h.queue), 60000) AS start_within_ms
FROM held h
WHERE h.reason = 'suspect'
    AND h.run_at <= ?2
    AND EXISTS (SELECT 1 FROM json_each(?1) j
        WHERE h.queue >= j.value ->> 0 AND (j.value ->> 1 IS NULL OR h.queue < j.value ->> 1))
    AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.name = h.queue AND q.paused)
    AND NOT EXISTS (SELECT 1 FROM kind k WHERE k.kind = h.kind AND k.paused)
ORDER BY h.priority DESC, h.seq
LIMIT 2
