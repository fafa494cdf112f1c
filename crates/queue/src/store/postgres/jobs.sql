-- Jobs in the order of their ids.
-- $1 queue or NULL  $2 kind or NULL  $3 state[] or NULL  $4 with a higher id  $5 the most. Rows: a job each.
-- Locks: none. Index: the primary keys, merged; a filter that few jobs pass walks far.
SELECT j.id, j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.interruptions, j.deaths, j.run_at,
       j.ready_at, j.enqueued_at, j.started_at, j.finished_at, j.worker, j.payload::text AS payload,
       j.meta::text AS meta, j.key, j.reason, j.error, j.output
FROM headcount.jobs j
WHERE j.id > $4::bigint
  AND ($1::text IS NULL OR j.queue = $1) AND ($2::text IS NULL OR j.kind = $2)
  AND ($3::text[] IS NULL OR j.state = ANY ($3))
ORDER BY j.id
LIMIT $5::bigint
