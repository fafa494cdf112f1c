-- A job's attempts that did not complete, in order. $1 id. Locks: none. Index: attempt_job.
SELECT a.job_id, a.attempt, a.outcome, a.started_at, a.ended_at, a.worker, a.error
FROM headcount.attempt a
WHERE a.job_id = $1
ORDER BY a.id
