-- Those of these workers that drain.
-- ?1: JSON, their boot ids. Rows: boot, drain_epoch. Index: the primary key.
SELECT boot, drain_epoch FROM worker WHERE boot IN (SELECT value FROM json_each(?1)) AND state = 'draining'
