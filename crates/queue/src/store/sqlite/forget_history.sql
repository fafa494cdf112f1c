-- Removes the counters of minutes that are long past.
-- ?1: up to this time. Rows: none. Index: history_at.
DELETE FROM history WHERE at < ?1
