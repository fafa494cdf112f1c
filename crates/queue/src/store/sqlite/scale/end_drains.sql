-- Lets workers claim again whose drain has ended by itself; one that was let go from a drain without end drains again.
-- ?1: now. Rows: none. Index: none; there are as many rows as workers.
UPDATE worker
SET state = CASE WHEN drain_until <= ?1 THEN 'active' ELSE 'draining' END, leaving_until = NULL
WHERE state = 'leaving' AND leaving_until <= ?1 OR state = 'draining' AND drain_until <= ?1
