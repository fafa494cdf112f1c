-- Lets draining workers claim again. $1 boot[]. Rows: boot of those that were draining. Locks: the workers, in order.
UPDATE headcount.worker
SET state = 'active', drained_by = NULL, drain_until = NULL
WHERE boot = ANY (ARRAY(
        SELECT w.boot FROM headcount.worker w WHERE w.boot = ANY ($1::bigint[]) ORDER BY w.boot FOR NO KEY UPDATE
    ))
  AND state = 'draining'
RETURNING boot
