-- Stops workers from claiming, and waits for their claims in flight.
-- $1 boot[]  $2 by whom  $3 lease in ms, NULL without end
-- Rows: boot, drain_epoch of each that is draining now. Locks: the workers, in order.
-- A renewal of a lease that still runs keeps the drain's number. A lease never shortens another's drain without end,
-- and keeps its number: a person's order outlives the scaler's.
UPDATE headcount.worker
SET state = 'draining',
    drain_epoch = CASE
        WHEN state = 'draining' AND (drain_until IS NULL OR (drained_by = $2 AND drain_until >= clock_timestamp()))
            THEN drain_epoch
        ELSE drain_epoch + 1
    END,
    drained_by = CASE WHEN state = 'draining' AND drain_until IS NULL AND $3::bigint IS NOT NULL THEN drained_by ELSE $2 END,
    drain_until = CASE
        WHEN state = 'draining' AND drain_until IS NULL AND drained_by IS DISTINCT FROM $2 THEN NULL
        ELSE clock_timestamp() + $3::bigint * interval '1 ms'
    END
WHERE boot = ANY (ARRAY(
        SELECT w.boot FROM headcount.worker w WHERE w.boot = ANY ($1::bigint[]) ORDER BY w.boot FOR NO KEY UPDATE
    ))
  AND state IN ('active', 'draining')
RETURNING boot, drain_epoch
