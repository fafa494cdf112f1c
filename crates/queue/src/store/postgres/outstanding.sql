-- What these queues still have to do: no cursor, no gate, no skipped locks.
-- $1 the edges of the ranges of queues: in, out, in, out. Rows: one. Locks: none.
-- Index: ready_lane; parked_lane; later_queue, skipping from queue to queue, to the first and the last of each.
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), range AS MATERIALIZED (
    SELECT ($1::text[])[i] AS in, ($1::text[])[i + 1] AS out FROM generate_series(1, cardinality($1::text[]), 2) i
), scheduled AS (
    SELECT e.out, f.queue, f.due_at
    FROM range e
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
SELECT
    EXISTS (
        SELECT FROM range e
        CROSS JOIN LATERAL (
            SELECT FROM headcount.ready r
            WHERE r.queue >= e.in AND r.queue < e.out
            ORDER BY r.queue, r.priority, r.seq LIMIT 1
        ) f
    ) AS ready,
    EXISTS (SELECT FROM scheduled s WHERE s.due_at <= (SELECT c.at FROM clock c)) AS due,
    EXISTS (
        SELECT FROM scheduled s
        CROSS JOIN LATERAL (
            SELECT l.due_at FROM headcount.later l WHERE l.queue = s.queue ORDER BY l.due_at DESC LIMIT 1
        ) last
        WHERE last.due_at > (SELECT c.at FROM clock c)
    ) AS scheduled,
    -- How many edges lie at or before a name: an odd number is inside.
    EXISTS (SELECT FROM headcount.held h WHERE width_bucket(h.queue, $1::text[]) % 2 = 1) AS held,
    EXISTS (SELECT FROM headcount.running r WHERE width_bucket(r.queue, $1::text[]) % 2 = 1) AS running,
    EXISTS (
        SELECT FROM range e
        CROSS JOIN LATERAL (
            SELECT FROM headcount.parked p
            WHERE p.queue >= e.in AND p.queue < e.out
            ORDER BY p.queue, p.priority, p.kind LIMIT 1
        ) f
    ) AS parked
