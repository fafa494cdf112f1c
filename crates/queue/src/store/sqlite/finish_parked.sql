-- Copies parked jobs into finished.
-- ?1: JSON, rows of [id, state, attempt, interruptions, deaths, error, output, expires_at, worker]. ?2: now.
-- Rows: none. Index: the primary key, once a row of ?1.
INSERT INTO finished (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
    worker, error, output, expires_at)
SELECT p.id, p.queue, p.priority, p.seq, p.kind, p.payload, p.payload_codec, j.value ->> 2, p.max_attempts,
    j.value ->> 3, j.value ->> 4, p.timeout_ms, p.max_run_ms, p.options, p.enqueued_at, p.run_at, p.ready_at, p.meta,
    p.extra, j.value ->> 1, p.started_at, ?2, j.value ->> 8, j.value ->> 5, j.value ->> 6, j.value ->> 7
FROM json_each(?1) j
CROSS JOIN parked p ON p.id = j.value ->> 0
