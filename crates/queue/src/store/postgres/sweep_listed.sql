-- Finds the lanes of these queues, each with the place of its first job.
-- $1 queue[]. Rows: queue, priority, seq. Locks: none. Index: ready_lane, skipping from priority to priority.
WITH RECURSIVE lane AS (
    SELECT q.queue, f.priority, f.seq
    FROM unnest($1::text[]) AS q (queue)
    CROSS JOIN LATERAL (
        SELECT r.priority, r.seq FROM headcount.ready r
        WHERE r.queue = q.queue
        ORDER BY r.priority, r.seq LIMIT 1
    ) f
    UNION ALL
    SELECT l.queue, n.priority, n.seq
    FROM lane l
    CROSS JOIN LATERAL (
        SELECT r.priority, r.seq FROM headcount.ready r
        WHERE r.queue = l.queue AND r.priority > l.priority
        ORDER BY r.priority, r.seq LIMIT 1
    ) n
)
SELECT queue, priority, seq FROM lane
