-- Ends the wait of parked jobs whose deadline has passed, the earliest first.
-- $1 the most  $2 the cursor: no deadline before it is looked at, NULL for all
-- Rows: a job each: id, queue, its deadline, and its fate (ready, failed). Another doer: none.
-- Locks: the duty and the jobs, both SKIP LOCKED; the keys of those that end; last of all queue. Index:
-- parked_deadline.
WITH duty AS MATERIALIZED (
    SELECT d.name FROM headcount.duty d WHERE d.name = 'expire' FOR UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT p.id FROM headcount.parked p
    WHERE p.deadline >= coalesce($2::timestamptz, '-infinity') AND p.deadline <= (SELECT clock_timestamp())
      AND EXISTS (SELECT FROM duty)
    ORDER BY p.deadline, p.id
    LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED
)
SELECT e.id, e.queue, e.fate, e.deadline
FROM headcount.end_parked(ARRAY(SELECT id FROM due), 'expired', NULL, NULL, NULL, 0) e
ORDER BY e.deadline, e.id
