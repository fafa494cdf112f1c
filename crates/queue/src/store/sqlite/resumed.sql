-- Jobs that were held since their kind was paused, and is no longer.
-- ?1: how many. Rows: id, queue, priority, kind, run_at, seq.
-- Index: held_paused, skipping from kind to kind: jobs of kinds that are still paused are not walked over. It is
-- named, since a planner without statistics takes held_reason and sorts.
WITH RECURSIVE held_kind (kind) AS (
    SELECT (SELECT h.kind FROM held h INDEXED BY held_paused WHERE h.reason = 'paused' ORDER BY h.kind LIMIT 1)
    UNION ALL
    SELECT (SELECT h.kind FROM held h INDEXED BY held_paused
        WHERE h.reason = 'paused' AND h.kind > held_kind.kind ORDER BY h.kind LIMIT 1)
    FROM held_kind
    WHERE held_kind.kind IS NOT NULL
)
SELECT h.id, h.queue, h.priority, h.kind, h.run_at, h.seq
FROM held_kind n
CROSS JOIN held h INDEXED BY held_paused ON h.kind = n.kind AND h.reason = 'paused'
WHERE n.kind NOT IN (SELECT k.kind FROM kind k WHERE k.paused)
LIMIT ?1
