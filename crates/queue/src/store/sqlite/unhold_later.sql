-- Copies held jobs into later: nothing holds them back any more, but they are not due.
-- ?1: JSON, rows of [id, seq]. Rows: none. Indexes: the primary key, once a row of ?1; attempt_job.
INSERT INTO later (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, note)
SELECT h.id, h.queue, h.priority, j.value ->> 1, h.kind, h.payload, h.payload_codec, h.attempt, h.max_attempts,
    h.interruptions, h.deaths, h.timeout_ms, h.max_run_ms, h.options, h.enqueued_at, h.run_at, h.ready_at,
    h.meta, h.extra,
    (SELECT a.started_at FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1),
    (SELECT a.worker FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1),
    (SELECT a.error FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1)
FROM json_each(?1) j
CROSS JOIN held h ON h.id = j.value ->> 0
