-- Moves jobs of paused kinds out of the way of claims, which would walk over them.
-- $1 the most. Rows: one: how many. Locks: what is moved, SKIP LOCKED.
-- Index: ready_lane, and only in lanes where the counters, folded or not, know of such jobs. Without a paused kind the
-- other tables are not looked at.
WITH paused AS MATERIALIZED (
    SELECT k.kind FROM headcount.kind k WHERE k.paused
), lane AS MATERIALIZED (
    SELECT l.queue, l.priority, l.kind
    FROM headcount.lane l
    CROSS JOIN LATERAL (
        SELECT n.ready FROM headcount.queue_state n
        WHERE n.queue = l.queue AND n.priority = l.priority AND n.kind = l.kind
        ORDER BY n.version DESC LIMIT 1
    ) s
    WHERE EXISTS (SELECT FROM paused) AND l.kind = ANY (ARRAY(SELECT p.kind FROM paused p)) AND s.ready > 0
    UNION ALL
    SELECT t.queue, t.priority, t.kind
    FROM headcount.tally t
    WHERE EXISTS (SELECT FROM paused) AND t.kind = ANY (ARRAY(SELECT p.kind FROM paused p)) AND t.ready > 0
    GROUP BY t.queue, t.priority, t.kind
), taken AS (
    DELETE FROM headcount.ready
    WHERE id = ANY (ARRAY(
        SELECT r.id
        FROM lane l
        CROSS JOIN LATERAL (
            SELECT r.id FROM headcount.ready r
            WHERE r.queue = l.queue AND r.priority = l.priority AND r.kind = l.kind
            ORDER BY r.seq
            LIMIT $1::bigint
            FOR UPDATE SKIP LOCKED
        ) r
        LIMIT $1::bigint
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
), held AS (
    INSERT INTO headcount.held (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason
    )
    SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
           timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, 'paused'
    FROM taken
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, held)
    SELECT queue, priority, kind, -count(*), count(*) FROM taken GROUP BY queue, priority, kind
)
SELECT count(*) AS jobs FROM taken
