-- Copies parked jobs into later.
-- ?1: JSON, rows of [id, attempt, interruptions, deaths, run_at, note, worker]. Rows: none.
-- Index: the primary key, once a row of ?1.
INSERT INTO later (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, note)
SELECT p.id, p.queue, p.priority, p.seq, p.kind, p.payload, p.payload_codec, j.value ->> 1, p.max_attempts,
    j.value ->> 2, j.value ->> 3, p.timeout_ms, p.max_run_ms, p.options, p.enqueued_at, j.value ->> 4, p.ready_at,
    p.meta, p.extra, p.started_at, j.value ->> 6, j.value ->> 5
FROM json_each(?1) j
CROSS JOIN parked p ON p.id = j.value ->> 0
