-- Deletes a job that does not run, with everything that belongs to it, and lets go of its key.
-- $1 id. Rows: id, if it was. Locks: the job's row, waiting for a move in flight; its key. Index: the primary keys;
-- attempt_job.
WITH from_ready AS (
    DELETE FROM headcount.ready WHERE id = $1 RETURNING id, queue, priority, kind, extra
), from_held AS (
    DELETE FROM headcount.held WHERE id = $1
    RETURNING id, queue, priority, kind, extra, CASE WHEN reason = 'suspect' THEN 'suspect' ELSE 'held' END AS place
), from_later AS (
    DELETE FROM headcount.later WHERE id = $1 RETURNING id, queue, priority, kind, extra
), from_parked AS (
    DELETE FROM headcount.parked WHERE id = $1 RETURNING id, queue, priority, kind, extra
), from_finished AS (
    DELETE FROM headcount.finished WHERE id = $1 RETURNING id, queue, priority, kind, extra, state
), taken AS (
    SELECT *, 'ready' AS place FROM from_ready
    UNION ALL
    SELECT * FROM from_held
    UNION ALL
    SELECT *, 'later' FROM from_later
    UNION ALL
    SELECT *, 'parked' FROM from_parked
    UNION ALL
    SELECT * FROM from_finished
), body AS (
    DELETE FROM headcount.body WHERE job_id = ANY (ARRAY(SELECT id FROM taken))
), attempts AS (
    DELETE FROM headcount.attempt WHERE job_id = ANY (ARRAY(SELECT id FROM taken))
), counted AS (
    INSERT INTO headcount.tally (
        queue, priority, kind, ready, held, suspects, scheduled, parked, completed, failed, cancelled
    )
    SELECT queue, priority, kind, CASE WHEN place = 'ready' THEN -1 END,
           CASE WHEN place IN ('held', 'suspect') THEN -1 END, CASE WHEN place = 'suspect' THEN -1 END,
           CASE WHEN place = 'later' THEN -1 END, CASE WHEN place = 'parked' THEN -1 END,
           CASE WHEN place = 'completed' THEN -1 END, CASE WHEN place = 'failed' THEN -1 END,
           CASE WHEN place = 'cancelled' THEN -1 END
    FROM taken
), let_go AS MATERIALIZED (
    SELECT headcount.let_go(array_agg(id), array_agg(queue), array_agg(extra ->> 'key'))
    FROM taken WHERE extra IS NOT NULL HAVING count(*) > 0
)
SELECT id FROM taken WHERE (SELECT count(*) FROM let_go) >= 0
