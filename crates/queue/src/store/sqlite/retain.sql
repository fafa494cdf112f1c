-- Says how long finished jobs of a queue are kept.
-- ?1: its name. ?2: whether that is set. ?3, ?4: for completed and for failed ones, in ms. Rows: none.
-- Index: the primary key.
INSERT INTO queue (name, retains, keep_completed_ms, keep_failed_ms)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE SET
    retains = excluded.retains,
    keep_completed_ms = excluded.keep_completed_ms,
    keep_failed_ms = excluded.keep_failed_ms
