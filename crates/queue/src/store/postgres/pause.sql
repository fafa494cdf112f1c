-- Pauses or resumes a queue. $1 queue  $2 whether. Rows: none. Locks: the queue.
INSERT INTO headcount.queue AS q (queue, paused) VALUES ($1, $2)
ON CONFLICT (queue) DO UPDATE SET paused = excluded.paused WHERE q.paused <> excluded.paused
