-- Lets draining workers claim again.
-- ?1: JSON, their boot ids. Rows: those that were draining, with the end of their drain.
UPDATE worker
SET state = 'active'
WHERE boot IN (SELECT value FROM json_each(?1)) AND state = 'draining'
RETURNING boot, drain_until
