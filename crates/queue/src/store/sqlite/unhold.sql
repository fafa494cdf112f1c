-- Copies held jobs into ready: nothing holds them back any more. They become claimable now.
-- ?1: JSON, rows of [id, seq]. ?2: now. Rows: none. Index: the primary key, once a row of ?1.
INSERT INTO ready (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra)
SELECT h.id, h.queue, h.priority, j.value ->> 1, h.kind, h.payload, h.payload_codec, h.attempt, h.max_attempts,
    h.interruptions, h.deaths, h.timeout_ms, h.max_run_ms, h.options, h.enqueued_at, h.run_at, ?2, h.meta,
    h.extra
FROM json_each(?1) j
CROSS JOIN held h ON h.id = j.value ->> 0
