-- Lets draining workers claim again, those excepted whose place is leaving. Drains that have ended are none any more.
-- ?1: JSON, their boot ids. Rows: boot, pool, instance of those that were draining. Index: the primary keys.
UPDATE worker
SET state = 'active'
WHERE boot IN (SELECT value FROM json_each(?1))
    AND state = 'draining'
    AND NOT EXISTS (SELECT 1 FROM place p
        WHERE p.pool = worker.pool AND p.instance = worker.instance AND p.leaving_until IS NOT NULL)
RETURNING boot, pool, instance
