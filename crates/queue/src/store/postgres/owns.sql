-- Whether a worker owns running jobs. $1 boot. Rows: one. Locks: none. Index: running_token.
SELECT EXISTS (SELECT FROM headcount.running r WHERE r.boot = $1) AS owns
