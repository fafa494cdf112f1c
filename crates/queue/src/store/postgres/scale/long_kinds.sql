-- The kinds whose attempts take longer than a worker's grace on average, as long as no more of their jobs wait and run
-- than there are slots for them below it. As last folded: a preference need not know the last second, and the deltas are
-- many just when much is claimed.
-- $1 the edges of the ranges of queues: in, out, in, out  $2 the grace in ms  $3 the slots. Rows: a kind each, by name.
-- Locks: none. Index: the primary keys of lane and queue_state, which hold a row each for a queue's priority and kind,
-- whatever the backlog.
WITH counted AS MATERIALIZED (
    SELECT s.kind, s.ready + s.running AS jobs, s.done + s.errored AS ends, s.run_ms
    FROM generate_series(1, cardinality($1::text[]), 2) i
    JOIN headcount.lane l ON l.queue >= ($1::text[])[i] AND l.queue < ($1::text[])[i + 1]
    CROSS JOIN LATERAL (
        SELECT n.kind, n.ready, n.running, n.done, n.errored, n.run_ms FROM headcount.queue_state n
        WHERE n.queue = l.queue AND n.priority = l.priority AND n.kind = l.kind
        ORDER BY n.version DESC LIMIT 1
    ) s
), long AS MATERIALIZED (
    SELECT c.kind, sum(c.jobs) AS jobs
    FROM counted c
    GROUP BY c.kind
    HAVING sum(c.ends) > 0 AND sum(c.run_ms) > sum(c.ends) * $2::bigint
)
SELECT o.kind FROM long o WHERE (SELECT sum(a.jobs) FROM long a) <= $3::bigint ORDER BY o.kind
