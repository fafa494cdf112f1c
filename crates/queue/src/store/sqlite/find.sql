-- Where a job is.
-- ?1: its id. Rows: none or one: table (of a suspect: suspect), state, queue, priority, kind, key,
-- scope. Indexes: the primary keys.
SELECT 'ready', 'queued', queue, priority, kind, extra ->> 'key', extra ->> 'scope' FROM ready WHERE id = ?1
UNION ALL
SELECT iif(reason = 'suspect', 'suspect', 'held'), 'queued', queue, priority, kind, extra ->> 'key', extra ->> 'scope'
FROM held
WHERE id = ?1
UNION ALL
SELECT 'later', 'scheduled', queue, priority, kind, extra ->> 'key', extra ->> 'scope' FROM later WHERE id = ?1
UNION ALL
SELECT 'running', 'running', queue, priority, kind, extra ->> 'key', extra ->> 'scope' FROM running WHERE id = ?1
UNION ALL
SELECT 'parked', 'wait_async', queue, priority, kind, extra ->> 'key', extra ->> 'scope' FROM parked WHERE id = ?1
UNION ALL
SELECT 'finished', state, queue, priority, kind, extra ->> 'key', extra ->> 'scope' FROM finished WHERE id = ?1
