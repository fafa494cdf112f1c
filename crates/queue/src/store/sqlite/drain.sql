-- Stops workers without a place from claiming, or renews their drain. Claims in flight have ended, since they hold the write lock.
-- A drain without end is a person's, which a lease does not shorten. A renewed drain keeps its number; one that had
-- ended is a new one.
-- ?1: JSON, the boot ids. ?2: who orders it. ?3: its end, NULL is none. ?4: now.
-- Rows: none. Index: the primary key.
UPDATE worker
SET drained_by = CASE WHEN state = 'draining' AND drain_until IS NULL AND ?3 IS NOT NULL THEN drained_by ELSE ?2 END,
    drain_until = CASE WHEN state = 'draining' AND drain_until IS NULL THEN NULL ELSE ?3 END,
    drain_epoch = drain_epoch + (state = 'active' OR coalesce(drain_until <= ?4, false)),
    state = 'draining'
WHERE boot IN (SELECT value FROM json_each(?1)) AND state IN ('active', 'draining')
    AND (pool IS NULL OR instance IS NULL)
