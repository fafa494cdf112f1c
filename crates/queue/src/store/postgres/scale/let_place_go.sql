-- Marks a drained place as leaving; fence.sql and lock_place.sql come before it, so that nobody comes up there and nobody
-- there claims while this looks. A drain without end stays one.
-- $1 pool  $2 instance  $3 the number of its drain  $4 for how long, in ms. Rows: pool, if its drain has that number and
-- is in force, and no worker there that is not dead owns a running job or could claim one. Locks: the drain.
-- Indexes: the primary key, worker_place, running_token.
UPDATE headcount.drain d
SET leaving_until = c.at + $4::bigint * interval '1 ms',
    drain_until = CASE WHEN d.drain_until IS NULL THEN NULL ELSE c.at + $4::bigint * interval '1 ms' END
FROM (SELECT clock_timestamp() AS at OFFSET 0) c
WHERE d.pool = $1 AND d.instance = $2 AND d.epoch = $3 AND (d.drain_until IS NULL OR d.drain_until >= c.at)
  AND NOT EXISTS (
      SELECT FROM headcount.worker w
      WHERE w.pool COLLATE "C" = $1 AND w.instance COLLATE "C" = $2 AND w.state <> 'dead'
        AND (w.state = 'active'
             OR (w.drain_until < c.at AND (w.state = 'draining' OR w.leaving_until < c.at))
             OR EXISTS (SELECT FROM headcount.running r WHERE r.boot = w.boot))
  )
RETURNING d.pool
