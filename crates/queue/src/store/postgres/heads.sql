-- Writes, for every lane where it has changed, when the first job became claimable, with the time at which that was
-- true. take_duty.sql comes before it.
-- Rows: none. Locks: none. Index: ready_lane; the dead rows at a lane's head are walked, so it is run the less often
-- the longer it takes.
-- The oldest of the first few: one that was given back keeps its place but became claimable just now.
INSERT INTO headcount.lane_head (queue, priority, at, ready_at)
SELECT l.queue, l.priority, clock_timestamp(), head.ready_at
FROM (SELECT DISTINCT queue, priority FROM headcount.lane) l
CROSS JOIN LATERAL (
    SELECT min(f.ready_at) AS ready_at
    FROM (
        SELECT r.ready_at FROM headcount.ready r
        WHERE r.queue = l.queue AND r.priority = l.priority
        ORDER BY r.seq LIMIT 32
    ) f
) head
LEFT JOIN LATERAL (
    SELECT n.ready_at FROM headcount.lane_head n
    WHERE n.queue = l.queue AND n.priority = l.priority
    ORDER BY n.version DESC LIMIT 1
) newest ON true
WHERE head.ready_at IS DISTINCT FROM newest.ready_at
