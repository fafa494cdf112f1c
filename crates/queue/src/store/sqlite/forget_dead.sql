-- Takes dead workers that own no job off the books.
-- Rows: none. Index: running_boot, once a dead worker.
DELETE FROM worker
WHERE state = 'dead' AND NOT EXISTS (SELECT 1 FROM running WHERE running.boot = worker.boot)
