-- Counts a decision with the entry that it is equal to.
-- ?1 the entry, ?2 detail, ?3 now. Rows: none. Index: the primary key.
UPDATE decision SET detail = ?2, last_at = ?3, count = count + 1 WHERE id = ?1
