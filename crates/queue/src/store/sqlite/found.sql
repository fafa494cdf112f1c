-- Which of these jobs match a filter.
-- ?1: JSON, the ids. ?2 queue, ?3 kind, ?4 the states in JSON, ?5 enqueued until then, ?6 key, ?7 a part of the last
-- error, ?8 a path into the payload (JSON, its steps) and ?9 the value there as text: NULL is any.
-- Rows: their ids, ascending. Index: the primary keys, once an id.
SELECT id
FROM jobs
WHERE id IN (SELECT value FROM json_each(?1))
    AND (?2 IS NULL OR queue = ?2)
    AND (?3 IS NULL OR kind = ?3)
    AND (?4 IS NULL OR state IN (SELECT value FROM json_each(?4)))
    AND (?5 IS NULL OR enqueued_at <= ?5)
    AND (?6 IS NULL OR key = ?6)
    AND (?7 IS NULL OR instr(error, ?7) > 0)
    AND (?8 IS NULL OR ?9 = (
        -- A step is a place in a list, or a key.
        WITH RECURSIVE walk (n, here) AS (
            SELECT 0, payload
            UNION ALL
            SELECT n + 1, CASE
                    WHEN json_type(here) = 'object' THEN here -> ('$.' || json_quote(?8 ->> n))
                    WHEN json_type(here) = 'array' AND NOT (?8 ->> n) GLOB '*[^0-9]*'
                        THEN here -> CAST(?8 ->> n AS INTEGER)
                END
            FROM walk
            WHERE n < json_array_length(?8)
        )
        SELECT CASE json_type(here) WHEN 'text' THEN here ->> '$' WHEN 'null' THEN NULL ELSE here END
        FROM walk
        WHERE n = json_array_length(?8)
    ))
ORDER BY id
