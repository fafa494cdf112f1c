-- Copies running jobs into finished.
-- ?1: JSON, rows of [id, state, attempt, interruptions, deaths, error, output, expires_at, worker]. ?2: now.
-- Rows: none. Index: the primary key, once a row of ?1.
INSERT INTO finished (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
    worker, error, output, expires_at)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, j.value ->> 2, r.max_attempts,
    j.value ->> 3, j.value ->> 4, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at, r.ready_at, r.meta,
    r.extra, j.value ->> 1, r.started_at, ?2, j.value ->> 8, j.value ->> 5, j.value ->> 6, j.value ->> 7
FROM json_each(?1) j
CROSS JOIN running r ON r.id = j.value ->> 0
