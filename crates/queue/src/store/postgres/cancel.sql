-- Cancels a job that waits; asks for the end of one that runs.
-- $1 id. Rows: one: whether it was cancelled, and whether it was asked for. Neither: it moved, or is over, or is
-- nowhere; only another look can tell, since a row that a claim in flight takes matches nothing here.
-- Locks: the job's row; waits for a move in flight. Index: the primary keys.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), asked AS (
    UPDATE headcount.running SET cancel_at = coalesce(cancel_at, clock_timestamp()) WHERE id = $1 RETURNING id
), from_ready AS (
    DELETE FROM headcount.ready WHERE id = $1
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
), from_held AS (
    DELETE FROM headcount.held WHERE id = $1
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
              NULL::text AS note, CASE WHEN reason = 'suspect' THEN 'suspect' ELSE 'held' END AS place
), from_later AS (
    DELETE FROM headcount.later WHERE id = $1
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
              note
), taken AS (
    SELECT *, NULL::text AS note, 'ready' AS place FROM from_ready
    UNION ALL
    SELECT * FROM from_held
    UNION ALL
    SELECT *, 'later' FROM from_later
), finished AS (
    INSERT INTO headcount.finished (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state,
        started_at, finished_at, worker, error
    )
    SELECT t.id, t.queue, t.priority, t.seq, t.kind, t.payload, t.payload_codec, t.attempt, t.max_attempts,
           t.interruptions, t.deaths, t.timeout_ms, t.max_run_ms, t.options, t.enqueued_at, t.run_at, t.ready_at,
           t.meta, t.extra, 'cancelled', a.started_at, c.at, a.worker, coalesce(t.note, a.error)
    FROM taken t
    CROSS JOIN clock c
    LEFT JOIN LATERAL (
        SELECT a.started_at, a.worker, a.error FROM headcount.attempt a WHERE a.job_id = t.id ORDER BY a.id DESC LIMIT 1
    ) a ON true
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, held, suspects, scheduled, cancelled)
    SELECT queue, priority, kind, CASE WHEN place = 'ready' THEN -1 END,
           CASE WHEN place IN ('held', 'suspect') THEN -1 END, CASE WHEN place = 'suspect' THEN -1 END,
           CASE WHEN place = 'later' THEN -1 END, 1
    FROM taken
)
SELECT EXISTS (SELECT FROM taken) AS done, EXISTS (SELECT FROM asked) AS asked
