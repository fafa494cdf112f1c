-- Marks workers dead whose last beat is too old. Waits for their claims in flight, and looks again at the beat then.
-- $1 window in ms. Rows: boot. Locks: the workers, in order. What they own is moved by a later statement, which sees
-- what those claims took.
UPDATE headcount.worker
SET state = 'dead'
WHERE boot = ANY (ARRAY(
        SELECT w.boot FROM headcount.worker w
        WHERE w.state <> 'dead' AND w.beat_at < clock_timestamp() - $1::bigint * interval '1 ms'
        ORDER BY w.boot
        FOR NO KEY UPDATE
    ))
  AND state <> 'dead' AND beat_at < clock_timestamp() - $1::bigint * interval '1 ms'
RETURNING boot
