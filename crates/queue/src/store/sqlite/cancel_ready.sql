-- Copies a job from ready into finished, as cancelled; it keeps the times and the error of its last attempt.
-- ?1: its id. ?2: now. Rows: none. Index: the primary key.
INSERT INTO finished (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
    worker, error)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, r.attempt, r.max_attempts,
    r.interruptions, r.deaths, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at, r.ready_at, r.meta,
    r.extra, 'cancelled', (SELECT a.started_at FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1), ?2,
    (SELECT a.worker FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1),
    (SELECT a.error FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1)
FROM ready r
WHERE r.id = ?1
