-- Where a job is.
-- ?1: its id. Rows: none or one: table, state, queue, priority, kind. Indexes: the primary keys.
SELECT 'ready', 'queued', queue, priority, kind FROM ready WHERE id = ?1
UNION ALL
SELECT 'held', 'queued', queue, priority, kind FROM held WHERE id = ?1
UNION ALL
SELECT 'later', 'scheduled', queue, priority, kind FROM later WHERE id = ?1
UNION ALL
SELECT 'running', 'running', queue, priority, kind FROM running WHERE id = ?1
UNION ALL
SELECT 'finished', state, queue, priority, kind FROM finished WHERE id = ?1
