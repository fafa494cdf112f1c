-- The slots of the workers that are to claim before this one, and how many of them are free: of lower ordinals in its
-- pool. Asked only where beat.sql says that the pool is ordered.
-- $1 boot  $2 in ms: who has been silent for longer is not counted on. Rows: one: free, slots, the queues to which the
-- worker is bound (NULL for any). Locks: none. Indexes: worker's primary key, worker_place; running_token, once a worker
-- below.
SELECT coalesce(sum(greatest(w.slots - r.running, 0)), 0)::bigint AS free, coalesce(sum(w.slots), 0)::bigint AS slots,
       (SELECT m.queues FROM headcount.worker m WHERE m.boot = $1) AS queues
FROM headcount.worker me
JOIN headcount.worker w ON w.pool COLLATE "C" = me.pool AND w.ordinal < me.ordinal AND w.state = 'active'
    AND w.beat_at > clock_timestamp() - $2::bigint * interval '1 ms'
CROSS JOIN LATERAL (SELECT count(*) AS running FROM headcount.running j WHERE j.boot = w.boot) r
WHERE me.boot = $1
