-- A worker's sign of life. A drain or a leave whose lease has run out ends here.
-- $1 boot  $2 job id[]: those whose handler has started  $3 job id[]: those it holds
-- Rows: at least one if the worker is known and not dead: its state, whether workers below it in its pool are to claim
-- first, and each of $3 that it owns (id, claim, whether it was cancelled) or NULL. No row: it is dead.
-- Locks: the worker; waits for its claims in flight. Index: pool's primary key; running's primary key, and not that of
-- tokens, where all that the worker ever claimed lies dead under an old snapshot: a sign of life must not take longer the
-- more work was done.
WITH alive AS (
    UPDATE headcount.worker
    SET beat_at = clock_timestamp(), started = $2::bigint[], busy = cardinality($2::bigint[]),
        state = CASE
            WHEN state = 'active' OR (state = 'leaving' AND (leaving_until < clock_timestamp()) IS NOT TRUE) THEN state
            WHEN drain_until < clock_timestamp() THEN 'active'
            ELSE 'draining'
        END
    WHERE boot = $1 AND state <> 'dead'
    RETURNING boot, state, pool, ordinal
), ranked AS MATERIALIZED (
    SELECT EXISTS (
        SELECT FROM alive a JOIN headcount.pool p ON p.name = a.pool WHERE a.ordinal IS NOT NULL AND p.ordered
    ) AS ordered
)
SELECT a.state, (SELECT k.ordered FROM ranked k) AS ordered, r.id, r.claim, r.cancel_at IS NOT NULL AS cancelled
FROM alive a
LEFT JOIN headcount.running r ON r.id = ANY ($3::bigint[]) AND r.boot + 0 = a.boot
