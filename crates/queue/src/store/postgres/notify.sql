-- Tells the workers that sleep of jobs in these queues. Commits that notify wait for each other, so only where somebody
-- sleeps.
-- $1 queue[]. Rows: none that matters. Locks: none, but for the order of such commits. Index: queue_asleep.
SELECT pg_notify('headcount.wake', n.queue)
FROM unnest($1::text[]) AS n (queue)
WHERE EXISTS (
    SELECT FROM headcount.queue s
    WHERE s.asleep
      AND CASE
          -- The row of a prefix, or of any: private queues are meant only by one that begins so itself.
          WHEN right(s.queue, 1) = '*' THEN starts_with(n.queue, left(s.queue, -1))
              AND (NOT starts_with(n.queue, 'run:') OR starts_with(s.queue, 'run:'))
          ELSE s.queue = n.queue
          END
)
