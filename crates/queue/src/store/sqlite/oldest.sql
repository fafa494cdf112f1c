-- How long the heads of the lanes have been claimable.
-- Rows: queue, ready_at of the oldest head, for each queue that has ready jobs. Index: ready_lane, one descent a lane.
SELECT queue, min(ready_at)
FROM (
    SELECT l.queue,
        (SELECT r.ready_at FROM ready r
            WHERE r.queue = l.queue AND r.priority = l.priority ORDER BY r.seq LIMIT 1) AS ready_at
    FROM (SELECT DISTINCT queue, priority FROM queue_state WHERE ready > 0) l
)
GROUP BY queue
