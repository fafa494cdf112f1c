-- What a worker owns by claims that it has answered or given up; what of it the worker does not name was lost on the way.
-- $1 boot  $2 claims above this one  $3 and up to this one. Rows: id, claim. Locks: none. Index: running_token, from $2.
SELECT r.id, r.claim FROM headcount.running r WHERE r.boot = $1 AND r.claim > $2::bigint AND r.claim <= $3::bigint
