-- One lane's counters of depth.
-- ?1 queue, ?2 priority, ?3 kind. Rows: none or one. Index: the primary key.
SELECT ready, scheduled, held, suspects, running, parked, completed, failed, cancelled
FROM queue_state
WHERE queue = ?1 AND priority = ?2 AND kind = ?3
