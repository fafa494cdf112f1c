-- Writes down which drains of these places have ended by themselves, so that what follows finds only those in force.
-- $1 pool[]  $2 instance[]: a place each. Rows: none. Locks: their drains; their workers whose drain has ended, in order.
-- Indexes: drain's primary key, worker_place; a plan made on empty tables walks the workers and drains instead,
-- of which there are few.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), place AS MATERIALIZED (
    SELECT DISTINCT u.pool, u.instance FROM unnest($1::text[], $2::text[]) AS u (pool, instance)
), ended AS (
    DELETE FROM headcount.drain d USING place p, clock c
    WHERE d.pool = p.pool AND d.instance = p.instance AND d.drain_until < c.at
), stayed AS (
    UPDATE headcount.drain d SET leaving_until = NULL FROM place p, clock c
    WHERE d.pool = p.pool AND d.instance = p.instance AND d.leaving_until < c.at
      AND (d.drain_until IS NULL OR d.drain_until >= c.at)
)
UPDATE headcount.worker
SET state = CASE WHEN drain_until < (SELECT c.at FROM clock c) THEN 'active' ELSE 'draining' END, leaving_until = NULL
WHERE boot = ANY (ARRAY(
        SELECT w.boot
        FROM place p
        JOIN headcount.worker w ON w.pool COLLATE "C" = p.pool AND w.instance COLLATE "C" = p.instance
        WHERE w.state = 'draining' AND w.drain_until < (SELECT c.at FROM clock c)
           OR w.state = 'leaving' AND w.leaving_until < (SELECT c.at FROM clock c)
        ORDER BY w.boot
        FOR NO KEY UPDATE OF w
    ))
  AND (state = 'draining' AND drain_until < (SELECT c.at FROM clock c)
       OR state = 'leaving' AND leaving_until < (SELECT c.at FROM clock c))
