-- Lets draining workers claim again.
-- $1 boot[]. Rows: boot of those that were draining; one whose drain had ended by itself was not.
-- Locks: the workers, in order.
WITH locked AS MATERIALIZED (
    SELECT w.boot, coalesce(w.drain_until < clock_timestamp(), false) AS lapsed
    FROM headcount.worker w
    WHERE w.boot = ANY ($1::bigint[]) AND w.state = 'draining'
    ORDER BY w.boot
    FOR NO KEY UPDATE
), recalled AS (
    UPDATE headcount.worker
    SET state = 'active', drained_by = NULL, drain_until = NULL
    WHERE boot = ANY (ARRAY(SELECT boot FROM locked))
    RETURNING boot
)
SELECT r.boot FROM recalled r WHERE r.boot = ANY (ARRAY(SELECT l.boot FROM locked l WHERE NOT l.lapsed))
