-- Copies jobs from ready into held, since their kind is paused; they keep their seq.
-- ?1: JSON, their ids. Rows: none. Index: the primary key, once an id.
INSERT INTO held (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, r.attempt, r.max_attempts,
    r.interruptions, r.deaths, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at, r.ready_at,
    r.meta, r.extra, 'paused'
FROM json_each(?1) j
CROSS JOIN ready r ON r.id = j.value
