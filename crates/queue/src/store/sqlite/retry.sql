-- Copies a finished job into ready, as if it had never run: at the end of its lane, no attempt spent.
-- ?1: its id. ?2: now. ?3: its seq. Rows: none. Index: the primary key.
INSERT INTO ready (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra)
SELECT f.id, f.queue, f.priority, ?3, f.kind, f.payload, f.payload_codec, 0, f.max_attempts, 0, 0, f.timeout_ms,
    f.max_run_ms, f.options, f.enqueued_at, min(f.run_at, ?2), ?2, f.meta, f.extra
FROM finished f
WHERE f.id = ?1
