-- Jobs in the one shape.
-- ?1: JSON, the ids. Rows: as the view, by id. Index: the primary keys, once an id.
SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id
