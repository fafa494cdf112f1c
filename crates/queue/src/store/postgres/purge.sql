-- Removes finished jobs whose retention has ended, with everything that belongs to them.
-- $1 the most. Rows: one: how many. Another doer: none.
-- Locks: the duty and what is removed, both SKIP LOCKED; its keys. Index: finished_expires.
WITH duty AS MATERIALIZED (
    SELECT d.name FROM headcount.duty d WHERE d.name = 'purge' FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM headcount.finished
    WHERE id = ANY (ARRAY(
        SELECT f.id FROM headcount.finished f
        WHERE f.expires_at <= (SELECT clock_timestamp()) AND EXISTS (SELECT FROM duty)
        ORDER BY f.expires_at
        LIMIT $1::bigint
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, queue, priority, kind, extra, state
), body AS (
    DELETE FROM headcount.body WHERE job_id = ANY (ARRAY(SELECT id FROM taken))
), attempts AS (
    DELETE FROM headcount.attempt WHERE job_id = ANY (ARRAY(SELECT id FROM taken))
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, completed, failed, cancelled)
    SELECT queue, priority, kind, nullif(-count(*) FILTER (WHERE state = 'completed'), 0),
           nullif(-count(*) FILTER (WHERE state = 'failed'), 0), nullif(-count(*) FILTER (WHERE state = 'cancelled'), 0)
    FROM taken
    GROUP BY queue, priority, kind
), let_go AS MATERIALIZED (
    -- A failed job may have held its key until now.
    SELECT headcount.let_go(array_agg(id), array_agg(queue), array_agg(extra ->> 'key'))
    FROM taken WHERE extra IS NOT NULL HAVING count(*) > 0
)
SELECT count(*) AS jobs FROM taken WHERE (SELECT count(*) FROM let_go) >= 0
