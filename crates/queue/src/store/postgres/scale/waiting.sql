-- For each of several bindings: whether anything waits in its queues that a worker could start now. No cursor, no gate,
-- no skipped locks.
-- $1 which binding a range of queues is of, from 1  $2 where each range begins  $3 where it ends  $4 how many bindings.
-- Rows: n, and what waits there, a binding each, in any order. Locks: none.
-- Index: ready_lane; later_queue, skipping from queue to queue to the first of each; held_suspect, whole: they are few.
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), range AS MATERIALIZED (
    SELECT r.n, r.low, r.high FROM unnest($1::int[], $2::text[], $3::text[]) AS r (n, low, high)
), scheduled AS (
    SELECT e.n, e.high, f.queue, f.due_at
    FROM range e
    CROSS JOIN LATERAL (
        SELECT l.queue, l.due_at FROM headcount.later l
        WHERE l.queue >= e.low AND l.queue < e.high
        ORDER BY l.queue, l.due_at LIMIT 1
    ) f
    UNION ALL
    SELECT s.n, s.high, n.queue, n.due_at
    FROM scheduled s
    CROSS JOIN LATERAL (
        SELECT l.queue, l.due_at FROM headcount.later l
        WHERE l.queue > s.queue AND l.queue < s.high
        ORDER BY l.queue, l.due_at LIMIT 1
    ) n
)
SELECT
    b.n,
    EXISTS (
        SELECT FROM range e
        CROSS JOIN LATERAL (
            SELECT FROM headcount.ready r
            WHERE r.queue >= e.low AND r.queue < e.high
            ORDER BY r.queue, r.priority, r.seq LIMIT 1
        ) f
        WHERE e.n = b.n
    ) AS ready,
    EXISTS (
        SELECT FROM scheduled s WHERE s.n = b.n AND s.due_at <= (SELECT c.at FROM clock c)
    ) AS due,
    EXISTS (
        SELECT FROM range e
        JOIN headcount.held h ON h.queue >= e.low AND h.queue < e.high
        WHERE e.n = b.n AND h.reason = 'suspect'
    ) AS suspects
FROM generate_series(1, $4::int) b (n)
