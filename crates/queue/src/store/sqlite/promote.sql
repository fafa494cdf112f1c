-- Copies due jobs into ready, each with a fresh seq; they count as claimable since they were due.
-- ?1: JSON, rows of [id, seq]. Rows: none. Index: the primary key, once a row of ?1.
INSERT INTO ready (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra)
SELECT l.id, l.queue, l.priority, j.value ->> 1, l.kind, l.payload, l.payload_codec, l.attempt, l.max_attempts,
    l.interruptions, l.deaths, l.timeout_ms, l.max_run_ms, l.options, l.enqueued_at, l.run_at, l.run_at, l.meta, l.extra
FROM json_each(?1) j
CROSS JOIN later l ON l.id = j.value ->> 0
