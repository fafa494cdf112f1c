-- Takes these workers for dead.
-- ?1: JSON, their boot ids. Rows: those that were not yet. Index: the primary key.
UPDATE worker
SET state = 'dead'
WHERE boot IN (SELECT value FROM json_each(?1)) AND state <> 'dead'
RETURNING boot
