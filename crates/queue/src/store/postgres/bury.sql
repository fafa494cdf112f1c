-- Marks these workers dead. $1 boot[]. Rows: boot of those that were not. Locks: the workers, in order.
UPDATE headcount.worker
SET state = 'dead'
WHERE boot = ANY (ARRAY(
        SELECT w.boot FROM headcount.worker w WHERE w.boot = ANY ($1::bigint[]) ORDER BY w.boot FOR NO KEY UPDATE
    ))
  AND state <> 'dead'
RETURNING boot
