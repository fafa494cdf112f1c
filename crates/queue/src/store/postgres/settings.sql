-- What was set for queues, then for kinds, by name. The rows of sleeping workers say nothing else.
-- Rows: one for each that has a setting; start_within_ms is NULL where it is the default. Locks: none.
-- Index: none; there are as many rows as queues and kinds.
SELECT s.kind, s.name, s.paused, s.retains, s.keep_completed_ms, s.keep_failed_ms, s.start_within_ms
FROM (
    SELECT false AS kind, q.queue AS name, q.paused, q.retains, q.keep_completed_ms, q.keep_failed_ms,
           nullif(q.start_within_ms, 60000) AS start_within_ms
    FROM headcount.queue q
    WHERE q.paused OR q.retains OR q.start_within_ms <> 60000
    UNION ALL
    SELECT true, k.kind, k.paused, k.retains, k.keep_completed_ms, k.keep_failed_ms, NULL
    FROM headcount.kind k
    WHERE k.paused OR k.retains
) s
ORDER BY s.kind, s.name
