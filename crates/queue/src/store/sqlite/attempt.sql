-- Writes down attempts that did not complete.
-- ?1: JSON, rows of [job, attempt, outcome, started_at, worker, error]. ?2: now. Rows: none.
INSERT INTO attempt (job, attempt, outcome, started_at, ended_at, worker, error)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?2, value ->> 4, value ->> 5
FROM json_each(?1)
