-- Ends what the last call has taken, and takes what comes next: the two moves of a job's life, and nothing else.
-- $1 the ids that end, ascending  $2 the seq after which to look  $3 how many  $4 boot  $5 claim.
-- Rows: id and seq of each that was taken. Locks: those. Index: running's primary key; ready_lane; ready's primary key.
WITH ended AS (
    DELETE FROM {schema}.running WHERE id = ANY ($1::bigint[])
), taken AS (
    DELETE FROM {schema}.ready
    WHERE id = ANY (ARRAY(
        SELECT r.id FROM {schema}.ready r
        WHERE r.queue = 'q' AND r.priority = 0 AND r.seq > $2::bigint
        ORDER BY r.seq
        LIMIT $3::bigint
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING *
)
INSERT INTO {schema}.running (
    id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths, timeout_ms,
    max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, boot, claim, started_at
)
SELECT t.id, t.queue, t.priority, t.seq, t.kind, t.payload, t.payload_codec, t.attempt, t.max_attempts, t.interruptions,
       t.deaths, t.timeout_ms, t.max_run_ms, t.options, t.enqueued_at, t.run_at, t.ready_at, t.meta, t.extra, $4::bigint,
       $5::bigint, now()
FROM taken t
RETURNING id, seq
