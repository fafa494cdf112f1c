-- Where a job stands. $1 id. Rows: at most one. Locks: none. Index: the primary keys.
SELECT j.state FROM headcount.jobs j WHERE j.id = $1
