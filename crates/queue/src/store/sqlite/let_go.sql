-- Frees the coalesce keys of jobs that are over. A key that is by now another job's stays.
-- ?1: JSON, rows of [queue, key, job]. Rows: queue, key of each that is free now. Index: the primary key.
DELETE FROM coalesce
WHERE (queue, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
    AND job_id IN (SELECT value ->> 2 FROM json_each(?1))
RETURNING queue, key
