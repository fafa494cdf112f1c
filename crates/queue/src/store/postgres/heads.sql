-- Writes when the first jobs of lanes became claimable, with the time at which that was true.
-- $1 queue[]  $2 priority[]  $3 seq[]: the lanes and where each begins. Rows: none. Locks: none. Index: ready_lane.
-- The oldest of the first few: one that was given back keeps its place but became claimable just now.
INSERT INTO headcount.lane_head (queue, priority, at, ready_at)
SELECT l.queue, l.priority, clock_timestamp(),
       (SELECT min(f.ready_at) FROM (
            SELECT r.ready_at FROM headcount.ready r
            WHERE r.queue = l.queue AND r.priority = l.priority AND r.seq >= l.seq
            ORDER BY r.seq LIMIT 32
        ) f)
FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS l (queue, priority, seq)
