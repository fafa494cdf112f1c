-- When the next scheduled job of these queues is due, in milliseconds from now, rounded up; none: NULL.
-- $1 the edges of the ranges of queues: in, out, in, out. Rows: one. Locks: none.
-- Index: later_queue, skipping from queue to queue: one probe each, whatever is scheduled.
WITH RECURSIVE scheduled AS (
    SELECT e.out, f.queue, f.due_at
    FROM (
        SELECT ($1::text[])[i] AS in, ($1::text[])[i + 1] AS out FROM generate_series(1, cardinality($1::text[]), 2) i
    ) e
    CROSS JOIN LATERAL (
        SELECT l.queue, l.due_at FROM headcount.later l
        WHERE l.queue >= e.in AND l.queue < e.out
        ORDER BY l.queue, l.due_at LIMIT 1
    ) f
    UNION ALL
    SELECT s.out, n.queue, n.due_at
    FROM scheduled s
    CROSS JOIN LATERAL (
        SELECT l.queue, l.due_at FROM headcount.later l
        WHERE l.queue > s.queue AND l.queue < s.out
        ORDER BY l.queue, l.due_at LIMIT 1
    ) n
)
SELECT ceil(extract(epoch FROM min(s.due_at) - clock_timestamp()) * 1000)::bigint AS ms FROM scheduled s
