-- Says whether the workers bound so sleep, for those who enqueue to read.
-- $1 the entries of a binding, '*' for any  $2 whether. Rows: none.
-- Locks: the rows of queue that change, by name; a row that says so already is left alone. Index: queue's primary key.
INSERT INTO headcount.queue AS q (queue, asleep)
SELECT e.entry, $2::boolean
FROM unnest($1::text[]) AS e (entry)
WHERE coalesce((SELECT q.asleep FROM headcount.queue q WHERE q.queue = e.entry), false) <> $2::boolean
ORDER BY e.entry
ON CONFLICT (queue) DO UPDATE SET asleep = excluded.asleep WHERE q.asleep <> excluded.asleep
