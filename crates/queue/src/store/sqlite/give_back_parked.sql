-- Copies parked jobs back into ready, into their places: seq stays, and they become claimable now.
-- ?1: JSON, rows of [id, attempt, interruptions, deaths]. ?2: now. Rows: none.
-- Index: the primary key, once a row of ?1.
INSERT INTO ready (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra)
SELECT p.id, p.queue, p.priority, p.seq, p.kind, p.payload, p.payload_codec, j.value ->> 1, p.max_attempts,
    j.value ->> 2, j.value ->> 3, p.timeout_ms, p.max_run_ms, p.options, p.enqueued_at, p.run_at, ?2, p.meta,
    p.extra
FROM json_each(?1) j
CROSS JOIN parked p ON p.id = j.value ->> 0
