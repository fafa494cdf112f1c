-- Stops workers from claiming, and waits for their claims in flight.
-- $1 boot[]  $2 by whom  $3 lease in ms, NULL without end
-- Rows: boot, drain_epoch of each that is draining now. Locks: the workers, in order.
-- A drain without end is a person's, which a lease does not shorten. A renewed drain keeps its number; one that had
-- ended is a new one.
UPDATE headcount.worker
SET state = 'draining',
    drain_epoch = drain_epoch + (state = 'active' OR coalesce(drain_until < clock_timestamp(), false))::integer,
    drained_by = CASE
        WHEN state = 'draining' AND drain_until IS NULL AND $3::bigint IS NOT NULL THEN drained_by
        ELSE $2
    END,
    drain_until = CASE
        WHEN state = 'draining' AND drain_until IS NULL THEN NULL
        ELSE clock_timestamp() + $3::bigint * interval '1 ms'
    END
WHERE boot = ANY (ARRAY(
        SELECT w.boot FROM headcount.worker w WHERE w.boot = ANY ($1::bigint[]) ORDER BY w.boot FOR NO KEY UPDATE
    ))
  AND state IN ('active', 'draining')
RETURNING boot, drain_epoch
