-- The slots of the workers that are to claim before this one, and how many of them are free: of lower ordinals in its
-- pool, if that is ordered.
-- ?1: the worker. ?2: the time after which a worker must have beaten. Rows: one, if its pool is ordered and it has an
-- ordinal: free, slots, the worker's queues. Indexes: the primary keys, worker_place; running_boot, once a worker below.
SELECT coalesce(sum(max(w.slots - (SELECT count(*) FROM running r WHERE r.boot = w.boot), 0)), 0),
    coalesce(sum(w.slots), 0), me.queues
FROM worker me
CROSS JOIN pool p ON p.name = me.pool AND p.ordered
LEFT JOIN worker w ON w.pool = me.pool AND w.ordinal < me.ordinal AND w.state = 'active' AND w.beat_at > ?2
WHERE me.boot = ?1 AND me.ordinal IS NOT NULL
GROUP BY me.boot
