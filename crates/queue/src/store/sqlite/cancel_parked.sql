-- Copies a job from parked into finished, as cancelled; it keeps the times of the attempt that parked it, and
-- the error of the last one that failed.
-- ?1: its id. ?2: now. Rows: none. Indexes: the primary key, attempt_job.
INSERT INTO finished (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
    worker, error)
SELECT p.id, p.queue, p.priority, p.seq, p.kind, p.payload, p.payload_codec, p.attempt, p.max_attempts,
    p.interruptions, p.deaths, p.timeout_ms, p.max_run_ms, p.options, p.enqueued_at, p.run_at, p.ready_at, p.meta,
    p.extra, 'cancelled', p.started_at, ?2, p.worker,
    (SELECT a.error FROM attempt a WHERE a.job = p.id ORDER BY a.n DESC LIMIT 1)
FROM parked p
WHERE p.id = ?1
