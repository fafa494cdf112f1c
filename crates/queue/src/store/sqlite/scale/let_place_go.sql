-- Marks a drained place as leaving; drains that have ended are gone already, and claims in flight have ended, since they
-- hold the write lock. A drain without end stays one.
-- ?1 pool, ?2 instance, ?3 the number of its drain, ?4 until when. Changes a row only if no worker there that is not dead
-- owns a running job or could claim one. Indexes: the primary key, worker_place, running_boot.
UPDATE place
SET leaving_until = ?4, drain_until = CASE WHEN drain_until IS NULL THEN NULL ELSE ?4 END
WHERE pool = ?1
    AND instance = ?2
    AND epoch = ?3
    AND NOT EXISTS (SELECT 1 FROM worker w
        WHERE w.pool = ?1
            AND w.instance = ?2
            AND w.state <> 'dead'
            AND (w.state = 'active' OR EXISTS (SELECT 1 FROM running r WHERE r.boot = w.boot)))
