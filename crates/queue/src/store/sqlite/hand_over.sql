-- Gives jobs that run again their keys, which are free.
-- ?1: JSON, rows of [id, seq]. Rows: none. Indexes: the primary keys, once a row of ?1.
INSERT INTO coalesce (queue, key, job_id, scope)
SELECT h.queue, h.key, h.id, coalesce(h.extra ->> 'scope', 'unfinished')
FROM json_each(?1) j
CROSS JOIN held h ON h.id = j.value ->> 0
WHERE true
ON CONFLICT DO NOTHING
