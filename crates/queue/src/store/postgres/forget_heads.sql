-- Removes what was known of lanes' heads and has been replaced. Rows: none. Locks: what is removed.
-- Index: lane_head's primary key, from the newest of each lane.
DELETE FROM headcount.lane_head h
USING (SELECT DISTINCT queue, priority FROM headcount.lane) l
CROSS JOIN LATERAL (
    SELECT n.version FROM headcount.lane_head n
    WHERE n.queue = l.queue AND n.priority = l.priority
    ORDER BY n.version DESC LIMIT 1
) newest
WHERE h.queue = l.queue AND h.priority = l.priority AND h.version < newest.version
