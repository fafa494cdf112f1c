-- Cancels a job that waits; asks for the end of one that runs. By a function, since SQL from any language does the same.
-- $1 id. Rows: one: whether it was cancelled, and whether it was asked for. Neither: it moved, or is over, or is
-- nowhere; only another look can tell.
-- Locks: the job's row, and its key; waits for a move in flight. Index: the primary keys.
SELECT c.done, c.asked FROM headcount.try_cancel($1) c
