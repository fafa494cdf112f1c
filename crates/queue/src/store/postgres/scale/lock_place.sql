-- Waits for the claims in flight of all workers at a place and keeps others out until the transaction ends. What they own
-- is to be looked up in a later statement: this one's view of it is older than the locks.
-- $1 pool  $2 instance. Rows: boot. Locks: the workers, in order. Index: worker_place.
SELECT w.boot FROM headcount.worker w
WHERE w.boot = ANY (ARRAY(
        SELECT o.boot FROM headcount.worker o WHERE o.pool COLLATE "C" = $1 AND o.instance COLLATE "C" = $2
    ))
  AND w.state <> 'dead'
ORDER BY w.boot
FOR NO KEY UPDATE
