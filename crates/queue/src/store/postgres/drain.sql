-- Stops workers that have no place from claiming, and waits for their claims in flight. Those that have one are drained by
-- it: withhold.sql.
-- $1 boot[]  $2 by whom  $3 lease in ms, NULL without end
-- Rows: none. Locks: the workers, in order.
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
        SELECT w.boot FROM headcount.worker w
        WHERE w.boot = ANY ($1::bigint[]) AND (w.pool IS NULL OR w.instance IS NULL)
        ORDER BY w.boot
        FOR NO KEY UPDATE
    ))
  AND state IN ('active', 'draining')
