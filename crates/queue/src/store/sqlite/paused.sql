-- Claimable jobs whose kind is paused.
-- ?1: how many. Rows: id, queue, priority, kind.
-- Index: ready_lane, for those lanes only in which the counters have such jobs. It is named, since a
-- planner that knows of one deep lane only would walk the whole table once a lane.
SELECT r.id, r.queue, r.priority, r.kind
FROM queue_state s
CROSS JOIN ready r INDEXED BY ready_lane ON r.queue = s.queue AND r.priority = s.priority AND r.kind = s.kind
WHERE s.ready > 0 AND s.kind IN (SELECT k.kind FROM kind k WHERE k.paused)
LIMIT ?1
