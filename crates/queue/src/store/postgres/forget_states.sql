-- Removes versions of the counters that newer ones have replaced. Rows: none. Locks: what is removed.
-- Index: queue_state's primary key, from the newest of each lane.
DELETE FROM headcount.queue_state s
USING headcount.lane l
CROSS JOIN LATERAL (
    SELECT n.version FROM headcount.queue_state n
    WHERE n.queue = l.queue AND n.priority = l.priority AND n.kind = l.kind
    ORDER BY n.version DESC LIMIT 1
) newest
WHERE s.queue = l.queue AND s.priority = l.priority AND s.kind = l.kind AND s.version < newest.version
