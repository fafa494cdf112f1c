-- Those of these workers that drain. $1 boot[]. Rows: boot, drain_epoch. Locks: none. Index: the primary key.
SELECT w.boot, w.drain_epoch FROM headcount.worker w WHERE w.boot = ANY ($1::bigint[]) AND w.state = 'draining'
