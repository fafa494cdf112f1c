-- When the next scheduled job of these queues is due, in milliseconds from now, rounded up; none: NULL.
-- $1 queue[], NULL for all but the private ones (run:…). Rows: one. Locks: none. Index: later_due, later_queue.
SELECT ceil(extract(epoch FROM d.due_at - clock_timestamp()) * 1000)::bigint AS ms
FROM (
    SELECT CASE WHEN $1::text[] IS NULL
        THEN (SELECT l.due_at FROM headcount.later l
              WHERE NOT starts_with(l.queue, 'run:') ORDER BY l.due_at, l.id LIMIT 1)
        ELSE (SELECT min(n.due_at) FROM unnest($1) AS q (queue)
              CROSS JOIN LATERAL (
                  SELECT l.due_at FROM headcount.later l WHERE l.queue = q.queue ORDER BY l.due_at LIMIT 1
              ) n)
    END AS due_at OFFSET 0
) d
