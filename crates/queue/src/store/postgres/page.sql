-- Follows found.sql: the first of them. $12 the most.
ORDER BY j.id
LIMIT $12::bigint
