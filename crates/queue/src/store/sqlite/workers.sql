-- The workers in the order of their start; a dead one only as long as it owns jobs.
-- Rows: as the table, and running, counted, with the one of them that it has held for longest. Index: running_boot, once a
-- worker for each.
SELECT *
FROM (SELECT w.*, (SELECT count(*) FROM running r WHERE r.boot = w.boot) AS running,
    (SELECT r.id FROM running r WHERE r.boot = w.boot ORDER BY r.started_at, r.id LIMIT 1) AS oldest,
    (SELECT min(r.started_at) FROM running r WHERE r.boot = w.boot) AS oldest_at
    FROM worker w)
WHERE state <> 'dead' OR running > 0
ORDER BY started_at, boot
