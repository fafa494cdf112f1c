-- Copies running jobs back into ready, into their places: seq stays, and they become claimable now.
-- ?1: JSON, rows of [id, attempt, interruptions, deaths]. ?2: now. Rows: none. Index: the primary key, once a row of ?1.
INSERT INTO ready (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, j.value ->> 1, r.max_attempts,
    j.value ->> 2, j.value ->> 3, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at, ?2, r.meta,
    r.extra
FROM json_each(?1) j
CROSS JOIN running r ON r.id = j.value ->> 0
