-- The first ids that match, as far as can be told from the tables' own columns.
-- ?1: above this id. ?2 queue, ?3 kind: NULL is any. ?4 to ?7: whether queued, running, scheduled, finished ones are
-- wanted. ?8: the states in JSON, NULL is any. ?9: how many. ?10: enqueued until then, NULL is any.
-- ?11: whether parked ones are wanted.
-- Rows: their ids, ascending. Each table is walked by its primary key, and the walk stops at the limit.
SELECT id FROM ready
WHERE ?4 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?10 IS NULL OR enqueued_at <= ?10)
UNION ALL
SELECT id FROM held
WHERE ?4 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?10 IS NULL OR enqueued_at <= ?10)
UNION ALL
SELECT id FROM running
WHERE ?5 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?10 IS NULL OR enqueued_at <= ?10)
UNION ALL
SELECT id FROM parked
WHERE ?11 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?10 IS NULL OR enqueued_at <= ?10)
UNION ALL
SELECT id FROM later
WHERE ?6 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?10 IS NULL OR enqueued_at <= ?10)
UNION ALL
SELECT id FROM finished
WHERE ?7 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    AND (?10 IS NULL OR enqueued_at <= ?10)
    AND (?8 IS NULL OR state IN (SELECT value FROM json_each(?8)))
ORDER BY id
LIMIT ?9
