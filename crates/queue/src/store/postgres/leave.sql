-- Marks a worker as leaving; lock_worker.sql and owns.sql come before it. $1 boot. Rows: none. Locks: the worker.
UPDATE headcount.worker SET state = 'leaving', leaving_until = NULL WHERE boot = $1
