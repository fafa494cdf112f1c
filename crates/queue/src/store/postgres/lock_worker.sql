-- Waits for a worker's claims in flight and keeps others out until the transaction ends. What the worker owns is to be
-- looked up in a later statement: this one's view of it is older than the lock.
-- $1 boot. Rows: state, drain_epoch. Locks: the worker.
SELECT w.state, w.drain_epoch, coalesce(w.drain_until < clock_timestamp(), false) AS lapsed
FROM headcount.worker w WHERE w.boot = $1 FOR UPDATE
