-- Copies a job from ready into later, since it was put off. One that never ran has never been claimable.
-- ?1: its id. Rows: none. Indexes: the primary key, attempt_job.
INSERT INTO later (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, note)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, r.attempt, r.max_attempts,
    r.interruptions, r.deaths, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at,
    CASE WHEN r.attempt + r.interruptions > 0 THEN r.ready_at END, r.meta, r.extra,
    (SELECT a.started_at FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1),
    (SELECT a.worker FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1),
    (SELECT a.error FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1)
FROM ready r
WHERE r.id = ?1
