-- How long the heads of the lanes have been claimable.
-- Rows: queue, priority, ready_at of the head, for each lane that has ready jobs, the highest priority first.
-- Index: ready_lane, one descent a lane.
SELECT l.queue, l.priority,
    (SELECT r.ready_at FROM ready r
        WHERE r.queue = l.queue AND r.priority = l.priority ORDER BY r.seq LIMIT 1) AS ready_at
FROM (SELECT DISTINCT queue, priority FROM queue_state WHERE ready > 0) l
ORDER BY l.queue, l.priority DESC
