-- Copies a job from later into finished, as cancelled; it keeps the times and the error of its last attempt.
-- ?1: its id. ?2: now. Rows: none. Index: the primary key.
INSERT INTO finished (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
    worker, error)
SELECT l.id, l.queue, l.priority, l.seq, l.kind, l.payload, l.payload_codec, l.attempt, l.max_attempts,
    l.interruptions, l.deaths, l.timeout_ms, l.max_run_ms, l.options, l.enqueued_at, l.run_at, l.ready_at, l.meta,
    l.extra, 'cancelled', l.started_at, ?2, l.worker, l.note
FROM later l
WHERE l.id = ?1
