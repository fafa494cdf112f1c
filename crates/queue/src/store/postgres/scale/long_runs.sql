-- Jobs that have run for so long. Of more than so many the others are left out.
-- $1 for how long, in ms  $2 how many at most. Rows: boot, kind, ms. Locks: none.
-- Index: running_token, the whole of it: as many rows as all workers hold.
SELECT r.boot, r.kind, (extract(epoch FROM c.at - r.started_at) * 1000)::bigint AS ms
FROM (SELECT clock_timestamp() AS at OFFSET 0) c
CROSS JOIN LATERAL (
    SELECT j.boot, j.kind, j.started_at FROM headcount.running j
    WHERE j.started_at <= c.at - $1::bigint * interval '1 ms'
    ORDER BY j.boot, j.claim
    LIMIT $2::bigint
) r
