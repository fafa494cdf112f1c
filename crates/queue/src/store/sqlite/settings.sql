-- What was set for queues, then for kinds, by name.
-- Rows: whether it is a kind, name, paused, retains, keep_completed_ms, keep_failed_ms, start_within_ms (NULL where it is
-- the default). Index: none; there are as many rows as queues and kinds that someone has spoken about.
SELECT 0 AS is_kind, name, paused, retains, keep_completed_ms, keep_failed_ms, nullif(start_within_ms, 60000)
FROM queue
WHERE paused OR retains OR start_within_ms <> 60000
UNION ALL
SELECT 1, kind, paused, retains, keep_completed_ms, keep_failed_ms, NULL
FROM kind
WHERE paused OR retains
ORDER BY 1, 2
