-- Takes a worker off the books; lock_worker.sql and owns.sql come before it. $1 boot. Rows: none. Locks: the worker.
DELETE FROM headcount.worker WHERE boot = $1
