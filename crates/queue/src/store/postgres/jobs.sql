-- The records of the jobs that a filter finds, in the order of their ids: found.sql follows, named.sql where the filter
-- names ids, and page.sql. Rows: a job each. Locks: none.
SELECT j.id, j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.interruptions, j.deaths, j.run_at,
       j.ready_at, j.enqueued_at, j.started_at, j.finished_at, j.worker, j.payload::text AS payload,
       j.meta::text AS meta, j.deadline, j.key, j.reason, j.error, j.output
FROM headcount.jobs j
