-- Finds the lanes of every queue but the private ones (run:…), each with the place of its first job.
-- Rows: queue, priority, seq. Locks: none. Index: ready_lane, skipping from lane to lane: two probes a lane whatever
-- the backlog, but for the dead rows at its head, which is why claims remember where they ended.
WITH RECURSIVE below AS (
    (SELECT r.queue, r.priority, r.seq FROM headcount.ready r
     WHERE r.queue < 'run:'
     ORDER BY r.queue, r.priority, r.seq LIMIT 1)
    UNION ALL
    SELECT n.queue, n.priority, n.seq
    FROM below b
    CROSS JOIN LATERAL (
        SELECT r.queue, r.priority, r.seq FROM headcount.ready r
        WHERE (r.queue, r.priority) > (b.queue, b.priority) AND r.queue < 'run:'
        ORDER BY r.queue, r.priority, r.seq LIMIT 1
    ) n
), above AS (
    -- ';' follows ':'.
    (SELECT r.queue, r.priority, r.seq FROM headcount.ready r
     WHERE r.queue >= 'run;'
     ORDER BY r.queue, r.priority, r.seq LIMIT 1)
    UNION ALL
    SELECT n.queue, n.priority, n.seq
    FROM above a
    CROSS JOIN LATERAL (
        SELECT r.queue, r.priority, r.seq FROM headcount.ready r
        WHERE (r.queue, r.priority) > (a.queue, a.priority)
        ORDER BY r.queue, r.priority, r.seq LIMIT 1
    ) n
)
SELECT queue, priority, seq FROM below
UNION ALL
SELECT queue, priority, seq FROM above
