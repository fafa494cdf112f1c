-- One job, wherever it stands. $1 id. Rows: at most one. Locks: none. Index: the primary keys.
SELECT j.id, j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.interruptions, j.deaths, j.run_at,
       j.ready_at, j.enqueued_at, j.started_at, j.finished_at, j.worker, j.payload::text AS payload,
       j.meta::text AS meta, j.deadline, j.key, j.reason, j.error, j.output
FROM headcount.jobs j
WHERE j.id = $1
