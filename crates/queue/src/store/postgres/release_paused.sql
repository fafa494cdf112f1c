-- Moves jobs whose kind is paused no longer back into their places.
-- $1 the most. Rows: one: how many, and their queues. Locks: what is moved, SKIP LOCKED; last of all queue, by name.
-- Index: held_paused, skipping from kind to kind: jobs of kinds that are still paused are not walked over.
WITH RECURSIVE held_kind AS (
    (SELECT h.kind FROM headcount.held h WHERE h.reason = 'paused' ORDER BY h.kind, h.id LIMIT 1)
    UNION ALL
    SELECT n.kind
    FROM held_kind k
    CROSS JOIN LATERAL (
        SELECT h.kind FROM headcount.held h WHERE h.reason = 'paused' AND h.kind > k.kind ORDER BY h.kind, h.id LIMIT 1
    ) n
), taken AS (
    DELETE FROM headcount.held
    WHERE id = ANY (ARRAY(
        SELECT h.id
        FROM held_kind k
        CROSS JOIN LATERAL (
            SELECT h.id FROM headcount.held h
            WHERE h.reason = 'paused' AND h.kind = k.kind
            ORDER BY h.id
            LIMIT $1::bigint
            FOR UPDATE SKIP LOCKED
        ) h
        WHERE k.kind <> ALL (ARRAY(SELECT p.kind FROM headcount.kind p WHERE p.paused))
        LIMIT $1::bigint
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
), ready AS (
    -- seq is kept, and so the job's place. That it was held is no lateness of the workers'.
    INSERT INTO headcount.ready (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, clock_timestamp(), meta, extra
    FROM taken
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, held)
    SELECT queue, priority, kind, count(*), -count(*) FROM taken GROUP BY queue, priority, kind
), recalled AS (
    INSERT INTO headcount.queue AS q (queue, recalls)
    SELECT DISTINCT queue, 1 FROM taken ORDER BY queue
    ON CONFLICT (queue) DO UPDATE SET recalls = q.recalls + 1
)
SELECT count(*) AS jobs, coalesce(array_agg(DISTINCT queue), '{}') AS queues FROM taken
