-- Marks a draining worker as leaving.
-- ?1: the worker. ?2: the number of its drain. ?3: now. Changes a row only if that drain still holds and the worker owns
-- no running job. Indexes: the primary key, running_boot.
UPDATE worker
SET state = 'leaving'
WHERE boot = ?1
    AND state = 'draining'
    AND drain_epoch = ?2
    AND (drain_until IS NULL OR drain_until > ?3)
    AND NOT EXISTS (SELECT 1 FROM running WHERE running.boot = worker.boot)
