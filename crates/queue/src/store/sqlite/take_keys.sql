-- Takes coalesce keys that nobody holds.
-- ?1: JSON, rows of [queue, key, job, scope], each key once. Rows: the jobs that have their key now.
-- Index: the primary key, once a row of ?1.
INSERT INTO coalesce (queue, key, job_id, scope)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3
FROM json_each(?1)
WHERE true
ON CONFLICT DO NOTHING
RETURNING job_id
