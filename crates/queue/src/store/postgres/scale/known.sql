-- Scheduled jobs of these queues, counted by the step in which they fall due; paused queues and kinds are left out.
-- $1 the edges of the ranges of queues: in, out, in, out  $2 within in ms  $3 how many steps  $4 how many jobs at most.
-- Rows: at, the end of each step that has jobs; jobs. Locks: none.
-- Index: later_queue, skipping from queue to queue, and in each up to the time.
WITH RECURSIVE clock AS MATERIALIZED (
    SELECT c.at, c.at + $2::bigint * interval '1 ms' AS until,
           -- Whole microseconds, rounded up: so many of them reach the end.
           greatest(($2::bigint * 1000 + $3::bigint - 1) / $3::bigint, 1) AS step
    FROM (SELECT clock_timestamp() AS at OFFSET 0) c
), scheduled AS (
    SELECT e.out, f.queue
    FROM (
        SELECT ($1::text[])[i] AS in, ($1::text[])[i + 1] AS out FROM generate_series(1, cardinality($1::text[]), 2) i
    ) e
    CROSS JOIN LATERAL (
        SELECT l.queue FROM headcount.later l
        WHERE l.queue >= e.in AND l.queue < e.out
        ORDER BY l.queue, l.due_at LIMIT 1
    ) f
    UNION ALL
    SELECT s.out, n.queue
    FROM scheduled s
    CROSS JOIN LATERAL (
        SELECT l.queue FROM headcount.later l
        WHERE l.queue > s.queue AND l.queue < s.out
        ORDER BY l.queue, l.due_at LIMIT 1
    ) n
), due AS (
    SELECT greatest(ceil(extract(epoch FROM l.due_at - c.at) * 1000000 / c.step)::bigint, 1) AS n
    FROM clock c
    CROSS JOIN scheduled s
    CROSS JOIN LATERAL (
        SELECT l.due_at FROM headcount.later l
        WHERE l.queue = s.queue AND l.due_at <= c.until
          AND l.kind <> ALL (ARRAY(SELECT k.kind FROM headcount.kind k WHERE k.paused))
    ) l
    WHERE s.queue <> ALL (ARRAY(SELECT q.queue FROM headcount.queue q WHERE q.paused))
    LIMIT $4::bigint
)
SELECT least(c.at + d.n * c.step * interval '1 microsecond', c.until) AS at, d.jobs
FROM clock c
CROSS JOIN (SELECT due.n, count(*) AS jobs FROM due GROUP BY due.n) d
ORDER BY d.n
