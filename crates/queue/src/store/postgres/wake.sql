-- Tells the workers of these queues, if they sleep, when the transaction commits.
-- $1 queue[]. Rows: one. Locks: none, but a commit that notifies waits for another's. Index: queue_asleep.
SELECT headcount.wake($1::text[])
