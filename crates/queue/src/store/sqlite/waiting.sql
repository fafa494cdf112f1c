-- The jobs that run again once these keys are free.
-- ?1: JSON, rows of [queue, key]. Rows: id, queue, priority, kind, run_at. Index: held_key, once a row of ?1.
SELECT h.id, h.queue, h.priority, h.kind, h.run_at
FROM json_each(?1) j
CROSS JOIN held h ON h.queue = j.value ->> 0 AND h.key = j.value ->> 1
