-- Takes workers for dead whose last beat is too old.
-- ?1: the time up to which it is. Rows: their boot ids. Claims in flight have ended, since they hold the write lock.
UPDATE worker SET state = 'dead' WHERE beat_at <= ?1 AND state <> 'dead' RETURNING boot
