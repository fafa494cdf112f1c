-- Jobs that are to run again and whose key nobody holds.
-- ?1: how many. Rows: queue, key. Index: held_reason; the primary key of coalesce, once a row.
SELECT h.queue, h.key
FROM held h
WHERE h.reason = 'again'
    AND h.key IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM coalesce c WHERE c.queue = h.queue AND c.key = h.key)
LIMIT ?1
