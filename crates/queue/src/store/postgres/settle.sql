-- Ends attempts of one worker, whatever became of them: each job goes where its verdict says.
-- $1 boot  $2 id[] (ascending, each once)  $3 claim[]  $4 verdict[]: completed, retry, failed, snooze, return,
-- interrupt, cancelled, park, died, lost (died, and nobody's fault)  $5 text[]: the error or reason  $6 output[]
-- $7 ms[]: the wait, or how long it is kept (NULL: without end)  $8 ran_ms[]  $9 MAX_INTERRUPTIONS  $10 MAX_DEATHS
-- $11: outputs of more bytes lie in body  $12 json[], as text, of those that park: {"expiry", "keep_completed",
-- "keep_failed", "retry"}, the last three in ms.
-- Rows: id, fate (gone, completed, failed, cancelled, later, ready, held, parked). A token that no longer holds has no
-- row.
-- Locks: running, by id; the keys of those that end; last of all queue, by name. Index: running's primary key; the
-- entry of an id is found by binary search (width_bucket), not by a join with unnest.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), ended AS (
    DELETE FROM headcount.running
    WHERE id = ANY (ARRAY(
        SELECT r.id FROM headcount.running r
        WHERE r.id = ANY ($2::bigint[])
          -- boot + 0: not by the index of tokens, where all that this worker ever claimed lies dead under an old
          -- snapshot.
          AND r.boot + 0 = $1 AND r.claim = ($3::bigint[])[width_bucket(r.id, $2::bigint[])]
        ORDER BY r.id
        FOR UPDATE
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, cancel_at,
              digest, answer
), judged AS (
    SELECT e.id, e.queue, e.priority, e.seq, e.kind, e.payload, e.payload_codec, e.attempt AS spent, e.max_attempts,
           e.timeout_ms, e.max_run_ms, e.options, e.enqueued_at, e.run_at, e.ready_at, e.meta, e.extra, e.started_at,
           e.cancel_at, e.digest, v.park, a.verdict, a.text, a.output, a.ms, v.ran_ms, c.at,
           -- The column stops where it ends; a job gets that far only by hand. A completed job that is kept shows the
           -- attempt that completed it.
           least(
               e.attempt + (a.verdict IN ('retry', 'failed') OR (a.verdict = 'completed' AND a.ms <> 0))::integer, 32767
           )::smallint AS attempt,
           least(e.interruptions + (a.verdict IN ('interrupt', 'died'))::integer, 32767)::smallint AS interruptions,
           -- An attempt that its own handler ended clears the job of suspicion.
           CASE a.verdict
               WHEN 'died' THEN least(e.deaths + 1, 32767)::smallint
               WHEN 'return' THEN e.deaths
               WHEN 'interrupt' THEN e.deaths
               WHEN 'lost' THEN e.deaths
               ELSE 0::smallint
           END AS deaths
    FROM ended e
    CROSS JOIN clock c
    CROSS JOIN LATERAL (SELECT width_bucket(e.id, $2::bigint[]) AS n) p
    CROSS JOIN LATERAL (
        SELECT ($4::text[])[p.n] AS verdict, ($5::text[])[p.n] AS text, ($6::text[])[p.n] AS output,
               ($7::bigint[])[p.n] AS ms, ($8::bigint[])[p.n] AS ran_ms, ($12::text[])[p.n]::json AS park
    ) v
    CROSS JOIN LATERAL (
        SELECT v.verdict, v.text, v.output, v.ms WHERE v.verdict <> 'park' OR e.answer IS NULL
        UNION ALL
        -- An answer that came before the park is what becomes of the job at once.
        SELECT y.verdict, e.answer ->> 'error', e.answer ->> 'output',
               CASE y.verdict
                   WHEN 'completed' THEN (v.park ->> 'keep_completed')::bigint
                   WHEN 'failed' THEN (v.park ->> 'keep_failed')::bigint
                   ELSE coalesce((e.answer ->> 'ms')::bigint, (v.park ->> 'retry')::bigint)
               END
        FROM (
            SELECT CASE e.answer ->> 'resolution'
                       WHEN 'completed' THEN 'completed'
                       WHEN 'still_waiting' THEN 'park'
                       WHEN 'retry' THEN CASE WHEN e.attempt + 1 >= e.max_attempts THEN 'failed' ELSE 'retry' END
                       ELSE 'failed'
                   END AS verdict
        ) y
        WHERE v.verdict = 'park' AND e.answer IS NOT NULL
    ) a
), settled AS MATERIALIZED (
    SELECT j.*,
           CASE
               WHEN j.verdict = 'completed' THEN CASE WHEN j.ms = 0 THEN 'gone' ELSE 'completed' END
               WHEN j.verdict = 'failed' THEN 'failed'
               WHEN j.verdict = 'cancelled' OR j.cancel_at IS NOT NULL THEN 'cancelled'
               WHEN j.verdict IN ('retry', 'snooze') THEN 'later'
               WHEN j.verdict = 'park' THEN 'parked'
               WHEN j.verdict = 'died' AND j.deaths >= $10::integer THEN 'failed'
               WHEN j.verdict IN ('interrupt', 'died') AND j.interruptions >= $9::integer THEN 'failed'
               WHEN j.deaths >= $10::integer - 1 THEN 'held'
               ELSE 'ready'
           END AS fate,
           coalesce((SELECT w.label FROM headcount.worker w WHERE w.boot = $1), 'unknown') AS worker
    FROM judged j
), finished AS (
    INSERT INTO headcount.finished (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
        worker, error, output, expires_at
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, fate, started_at, at, worker,
           CASE
               WHEN fate = 'completed' THEN NULL
               WHEN verdict = 'cancelled' THEN coalesce(text, 'cancelled while it ran')
               WHEN fate = 'cancelled' AND verdict IN ('snooze', 'return', 'park')
                   THEN 'cancelled while a worker held it'
               WHEN fate = 'cancelled' AND verdict IN ('died', 'lost')
                   THEN format('cancelled while it ran; worker %s died', worker)
               WHEN fate = 'cancelled' THEN concat('cancelled while it ran; the attempt had ended: ', text)
               WHEN verdict = 'failed' THEN coalesce(text, 'failed')
               WHEN verdict = 'died' AND deaths >= $10::integer THEN format(
                   'quarantined: its process died under it %s times, the last time while it ran alone; find out what '
                   'kills the process (memory, most often), then retry the job by hand', deaths)
               ELSE format(
                   'quarantined: interrupted %s times, the last time: %s; find out why it never gets to its end, then '
                   'retry the job by hand', interruptions,
                   coalesce(text, format('worker %s died while it ran', worker)))
           END,
           CASE WHEN fate = 'completed' AND octet_length(output) <= $11::integer THEN output END,
           CASE WHEN verdict IN ('completed', 'failed') THEN at + ms * interval '1 ms' END
    FROM settled
    WHERE fate IN ('completed', 'failed', 'cancelled')
), outputs AS (
    INSERT INTO headcount.body (job_id, part, content)
    SELECT id, 1, output FROM settled WHERE fate = 'completed' AND octet_length(output) > $11::integer
), later AS (
    INSERT INTO headcount.later (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, due_at, note
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
           at + ms * interval '1 ms', text
    FROM settled
    WHERE fate = 'later'
), ready AS (
    -- seq is kept, and so the job's place.
    INSERT INTO headcount.ready (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, at, meta, extra
    FROM settled
    WHERE fate = 'ready'
), held AS (
    INSERT INTO headcount.held (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, at, meta, extra, 'suspect'
    FROM settled
    WHERE fate = 'held'
), parked AS (
    INSERT INTO headcount.parked (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, digest,
        parked_at, deadline, expiry, keep_completed_ms, keep_failed_ms, retry_ms
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, digest,
           at, at + ms * interval '1 ms', park ->> 'expiry', (park ->> 'keep_completed')::bigint,
           (park ->> 'keep_failed')::bigint, (park ->> 'retry')::bigint
    FROM settled
    WHERE fate = 'parked'
), attempts AS (
    INSERT INTO headcount.attempt (job_id, attempt, outcome, started_at, ended_at, worker, error)
    SELECT id, least(spent + 1, 32767),
           CASE verdict
               WHEN 'retry' THEN 'failed'
               WHEN 'failed' THEN 'failed'
               WHEN 'interrupt' THEN 'interrupted'
               WHEN 'died' THEN 'died'
               WHEN 'lost' THEN 'died'
               ELSE 'cancelled'
           END,
           started_at, at, worker,
           CASE
               WHEN verdict IN ('snooze', 'return', 'park') THEN 'cancelled while a worker held it'
               WHEN verdict IN ('died', 'lost') THEN format('worker %s died while it ran', worker)
               ELSE coalesce(text, verdict)
           END
    FROM settled
    WHERE verdict IN ('retry', 'failed', 'interrupt', 'cancelled', 'died', 'lost')
       OR (fate = 'cancelled' AND verdict IN ('snooze', 'return', 'park'))
), bodies AS (
    DELETE FROM headcount.body
    WHERE job_id = ANY (ARRAY(SELECT id FROM settled WHERE fate = 'gone' AND payload IS NULL))
), tries AS (
    DELETE FROM headcount.attempt
    WHERE job_id = ANY (ARRAY(
        SELECT id FROM settled WHERE fate = 'gone' AND (attempt > 0 OR interruptions > 0 OR seq <> id)
    ))
), counted AS (
    INSERT INTO headcount.tally (
        queue, priority, kind, running, ready, scheduled, held, suspects, parked, completed, failed, cancelled,
        returned, done, errored, run_ms
    )
    SELECT queue, priority, kind, -count(*),
           nullif(count(*) FILTER (WHERE fate = 'ready'), 0),
           nullif(count(*) FILTER (WHERE fate = 'later'), 0),
           nullif(count(*) FILTER (WHERE fate = 'held'), 0),
           nullif(count(*) FILTER (WHERE fate = 'held'), 0),
           nullif(count(*) FILTER (WHERE fate = 'parked'), 0),
           nullif(count(*) FILTER (WHERE fate = 'completed'), 0),
           nullif(count(*) FILTER (WHERE fate = 'failed'), 0),
           nullif(count(*) FILTER (WHERE fate = 'cancelled'), 0),
           nullif(count(*) FILTER (WHERE fate IN ('ready', 'held')), 0),
           nullif(count(*) FILTER (WHERE verdict = 'completed'), 0),
           nullif(count(*) FILTER (WHERE verdict IN ('retry', 'failed')), 0),
           nullif(coalesce(sum(ran_ms) FILTER (
               WHERE verdict IN ('completed', 'retry', 'failed') OR fate = 'parked'), 0), 0)
    FROM settled
    GROUP BY queue, priority, kind
), recalled AS (
    INSERT INTO headcount.queue AS q (queue, recalls)
    SELECT DISTINCT queue, 1 FROM settled WHERE fate = 'ready' ORDER BY queue
    ON CONFLICT (queue) DO UPDATE SET recalls = q.recalls + 1
), let_go AS MATERIALIZED (
    SELECT headcount.let_go(array_agg(id), array_agg(queue), array_agg(extra ->> 'key'))
    FROM settled
    WHERE extra IS NOT NULL
      AND (fate IN ('gone', 'completed', 'cancelled')
           OR (fate = 'failed' AND extra ->> 'scope' IS DISTINCT FROM 'unfinished-or-failed'))
    HAVING count(*) > 0
)
SELECT id, fate FROM settled WHERE (SELECT count(*) FROM let_go) >= 0
