-- A third party's answer for a job. By a function, since SQL from any language does the same.
-- $1 id  $2 the digest of its secret  $3 completed, still_waiting, failed or retry  $4 output  $5 error  $6 ms: the
-- deadline, or the wait of a retry, or NULL  $7: outputs of more bytes lie in body.
-- Rows: one: what was done, and where the job stands if that is the reason why not. NULL: it moved, and only another
-- look can tell.
-- Locks: the job's row, waiting for a move in flight; its key. Index: the primary keys.
SELECT r.done, r.state FROM headcount.try_resolve($1, $2, $3, $4, $5, $6, $7, in_transaction => false) r
