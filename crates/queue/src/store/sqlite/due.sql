-- Scheduled jobs that are due, the earlier due first.
-- ?1: now. ?2: how many. Rows: id, queue, priority, kind. Index: later_due.
SELECT id, queue, priority, kind FROM later WHERE run_at <= ?1 ORDER BY run_at, seq LIMIT ?2
