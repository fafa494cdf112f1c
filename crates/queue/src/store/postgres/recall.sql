-- Lets draining workers claim again, and all that drain at their places, whoever drained those; places that leave
-- excepted. end_drains.sql comes before it.
-- $1 boot[]. Rows: boot of those that may claim again, also beside those asked for. Locks: the drains of their places; the
-- workers, in order. Indexes: the primary keys, worker_place; as in end_drains.sql.
WITH asked AS MATERIALIZED (
    SELECT w.boot, w.pool, w.instance
    FROM headcount.worker w
    WHERE w.boot = ANY ($1::bigint[]) AND w.state = 'draining'
      AND (w.drain_until IS NULL OR w.drain_until >= clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM headcount.drain d
          WHERE d.pool = w.pool AND d.instance = w.instance AND d.leaving_until IS NOT NULL
      )
), place AS MATERIALIZED (
    SELECT DISTINCT a.pool, a.instance FROM asked a WHERE a.pool IS NOT NULL AND a.instance IS NOT NULL
), gone AS (
    DELETE FROM headcount.drain d USING place p WHERE d.pool = p.pool AND d.instance = p.instance
)
UPDATE headcount.worker
SET state = 'active', drained_by = NULL, drain_until = NULL
WHERE boot = ANY (ARRAY(
        SELECT o.boot FROM headcount.worker o
        WHERE o.boot = ANY (ARRAY(
            SELECT a.boot FROM asked a
            UNION
            SELECT w.boot FROM place p
            JOIN headcount.worker w ON w.pool COLLATE "C" = p.pool AND w.instance COLLATE "C" = p.instance
        ))
        ORDER BY o.boot
        FOR NO KEY UPDATE
    ))
  AND state = 'draining'
RETURNING boot
