-- Copies a job from held into finished, as cancelled; it keeps the times and the error of its last attempt.
-- ?1: its id. ?2: now. Rows: none. Index: the primary key.
INSERT INTO finished (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
    worker, error)
SELECT h.id, h.queue, h.priority, h.seq, h.kind, h.payload, h.payload_codec, h.attempt, h.max_attempts,
    h.interruptions, h.deaths, h.timeout_ms, h.max_run_ms, h.options, h.enqueued_at, h.run_at, h.ready_at, h.meta,
    h.extra, 'cancelled', (SELECT a.started_at FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1), ?2,
    (SELECT a.worker FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1),
    (SELECT a.error FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1)
FROM held h
WHERE h.id = ?1
