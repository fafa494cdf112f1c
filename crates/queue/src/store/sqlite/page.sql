-- Where a page of jobs ends: the highest of the first ids that match.
-- ?1: above this id. ?2 queue, ?3 kind: NULL is any. ?4 to ?7: whether queued, running, scheduled, finished ones are
-- wanted. ?8: the states in JSON, NULL is any. ?9: how many. Rows: one, an id or NULL.
-- Each table is walked by its primary key, and the walk stops at the limit.
SELECT max(id) FROM (
    SELECT id FROM ready
    WHERE ?4 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    UNION ALL
    SELECT id FROM held
    WHERE ?4 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    UNION ALL
    SELECT id FROM running
    WHERE ?5 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    UNION ALL
    SELECT id FROM later
    WHERE ?6 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
    UNION ALL
    SELECT id FROM finished
    WHERE ?7 AND id > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR kind = ?3)
        AND (?8 IS NULL OR state IN (SELECT value FROM json_each(?8)))
    ORDER BY id
    LIMIT ?9
)
