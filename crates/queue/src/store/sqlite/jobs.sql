-- A page of jobs, whose end page.sql has found.
-- ?1: above this id. ?2 queue, ?3 kind: NULL is any. ?4: the states in JSON, NULL is any. ?5: up to this id.
-- Rows: as the view, by id. Indexes: the primary keys.
SELECT *
FROM jobs
WHERE id > ?1 AND id <= ?5 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?4 IS NULL OR state IN (SELECT value FROM json_each(?4)))
ORDER BY id
