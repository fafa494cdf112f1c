-- When the next scheduled job of all is due, in milliseconds from now, rounded up; none: NULL.
-- Rows: one. Locks: none. Index: later_due.
SELECT ceil(extract(epoch FROM min(d.due_at) - clock_timestamp()) * 1000)::bigint AS ms
FROM (SELECT l.due_at FROM headcount.later l ORDER BY l.due_at, l.id LIMIT 1) d
