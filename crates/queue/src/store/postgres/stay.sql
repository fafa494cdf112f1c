-- Sets a leaving worker back to draining, under the lease it had. $1 boot. Rows: boot, if so. Locks: the worker.
UPDATE headcount.worker SET state = 'draining', leaving_until = NULL WHERE boot = $1 AND state = 'leaving' RETURNING boot
