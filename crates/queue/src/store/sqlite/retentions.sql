-- How long finished jobs are kept, where that was set for a queue or a kind.
-- Rows: whether it is a kind, name, keep_completed_ms, keep_failed_ms. Index: none, as in settings.sql.
SELECT 0, name, keep_completed_ms, keep_failed_ms FROM queue WHERE retains
UNION ALL
SELECT 1, kind, keep_completed_ms, keep_failed_ms FROM kind WHERE retains
