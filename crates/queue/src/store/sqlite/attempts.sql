-- A job's attempts that did not complete, in the order in which they ended.
-- ?1: the job. Rows: as the table. Index: attempt_job.
SELECT job, attempt, outcome, started_at, ended_at, worker, error FROM attempt WHERE job = ?1 ORDER BY n
