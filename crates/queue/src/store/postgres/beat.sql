-- A worker's sign of life. A drain whose lease has run out ends here.
-- $1 boot  $2 job id[]: those whose handler has started
-- Rows: at least one if the worker is known and not dead: its state, and a job each that it holds (id, claim, whether
-- it was cancelled) or NULL. No row: it is dead.
-- Locks: the worker; waits for its claims in flight. Index: running_token.
WITH alive AS (
    UPDATE headcount.worker
    SET beat_at = clock_timestamp(), started = $2::bigint[], busy = cardinality($2::bigint[]),
        state = CASE WHEN state = 'draining' AND drain_until < clock_timestamp() THEN 'active' ELSE state END
    WHERE boot = $1 AND state <> 'dead'
    RETURNING boot, state
)
SELECT a.state, r.id, r.claim, r.cancel_at IS NOT NULL AS cancelled
FROM alive a
LEFT JOIN headcount.running r ON r.boot = a.boot
