-- Finds the lanes of these queues, each with the place of its first job and how long that has been claimable.
-- $1 the edges of the ranges of queues: in, out, in, out. Rows: queue, priority, seq, waited_ms. Locks: none.
-- Index: ready_lane, skipping from lane to lane: two probes a lane whatever the backlog, but for the dead rows at its
-- head, which is why claims remember where they ended. Both edges bound each probe: without the outer one an empty range
-- would walk over all that lies behind it.
WITH RECURSIVE lane AS (
    SELECT e.out, f.queue, f.priority, f.seq, f.ready_at
    FROM (
        SELECT ($1::text[])[i] AS in, ($1::text[])[i + 1] AS out FROM generate_series(1, cardinality($1::text[]), 2) i
    ) e
    CROSS JOIN LATERAL (
        SELECT r.queue, r.priority, r.seq, r.ready_at FROM headcount.ready r
        WHERE r.queue >= e.in AND r.queue < e.out
        ORDER BY r.queue, r.priority, r.seq LIMIT 1
    ) f
    UNION ALL
    SELECT l.out, n.queue, n.priority, n.seq, n.ready_at
    FROM lane l
    CROSS JOIN LATERAL (
        SELECT r.queue, r.priority, r.seq, r.ready_at FROM headcount.ready r
        WHERE (r.queue, r.priority) > (l.queue, l.priority) AND r.queue < l.out
        ORDER BY r.queue, r.priority, r.seq LIMIT 1
    ) n
)
SELECT queue, priority, seq, (extract(epoch FROM clock_timestamp() - ready_at) * 1000)::bigint AS waited_ms FROM lane
