-- Whether a worker may claim, and whether it holds anything.
-- ?1: the worker. Rows: none or one: state, drain_until, leaving_until, holds. Indexes: the primary key, running_boot.
SELECT state, drain_until, leaving_until, EXISTS (SELECT 1 FROM running WHERE running.boot = worker.boot) AS holds
FROM worker
WHERE boot = ?1
