-- The workers in the order of their start; a dead one only as long as it owns jobs.
-- Rows: as the table, and running, counted. Index: running_boot, once a worker.
SELECT *
FROM (SELECT w.*, (SELECT count(*) FROM running r WHERE r.boot = w.boot) AS running FROM worker w)
WHERE state <> 'dead' OR running > 0
ORDER BY started_at, boot
