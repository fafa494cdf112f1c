-- Adds a transaction's starts to the histograms of delays.
-- ?1: JSON, a row a bucket: [queue, priority, kind, bucket, n].
-- Rows: none. Index: the primary key.
INSERT INTO queue_delay (queue, priority, kind, bucket, n)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(?1)
WHERE true
ON CONFLICT (queue, priority, kind, bucket) DO UPDATE SET n = n + excluded.n
