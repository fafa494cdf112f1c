-- For each of several bindings: its scheduled jobs, counted by the step in which they fall due; paused queues and kinds
-- are left out.
-- $1 which binding a range of queues is of, from 1  $2 where each range begins  $3 where it ends  $4 within how many ms,
-- a binding  $5 how many steps  $6 how many jobs at most, a binding.
-- Rows: n, the binding; at, the end of each step that has jobs; jobs. Locks: none.
-- Index: later_queue, skipping from queue to queue, and in each up to the time.
WITH RECURSIVE asked AS MATERIALIZED (
    SELECT a.n::int AS n, c.at, c.at + a.within * interval '1 ms' AS until,
           -- Whole microseconds, rounded up: so many of them reach the end.
           greatest((a.within * 1000 + $5::bigint - 1) / $5::bigint, 1) AS step
    FROM (SELECT clock_timestamp() AS at OFFSET 0) c
    CROSS JOIN unnest($4::bigint[]) WITH ORDINALITY AS a (within, n)
), scheduled AS (
    SELECT e.n, e.high, f.queue
    FROM unnest($1::int[], $2::text[], $3::text[]) AS e (n, low, high)
    CROSS JOIN LATERAL (
        SELECT l.queue FROM headcount.later l
        WHERE l.queue >= e.low AND l.queue < e.high
        ORDER BY l.queue, l.due_at LIMIT 1
    ) f
    UNION ALL
    SELECT s.n, s.high, n.queue
    FROM scheduled s
    CROSS JOIN LATERAL (
        SELECT l.queue FROM headcount.later l
        WHERE l.queue > s.queue AND l.queue < s.high
        ORDER BY l.queue, l.due_at LIMIT 1
    ) n
)
SELECT a.n, least(a.at + d.step * a.step * interval '1 microsecond', a.until) AS at, d.jobs
FROM asked a
CROSS JOIN LATERAL (
    SELECT due.step, count(*) AS jobs
    FROM (
        SELECT greatest(ceil(extract(epoch FROM l.due_at - a.at) * 1000000 / a.step)::bigint, 1) AS step
        FROM scheduled s
        CROSS JOIN LATERAL (
            SELECT l.due_at FROM headcount.later l
            WHERE l.queue = s.queue AND l.due_at <= a.until
              AND l.kind <> ALL (ARRAY(SELECT k.kind FROM headcount.kind k WHERE k.paused))
        ) l
        WHERE s.n = a.n AND s.queue <> ALL (ARRAY(SELECT q.queue FROM headcount.queue q WHERE q.paused))
        LIMIT $6::bigint
    ) due
    GROUP BY due.step
) d
ORDER BY a.n, d.step
