-- Copies running jobs into later.
-- ?1: JSON, rows of [id, attempt, interruptions, deaths, run_at, note, worker]. Rows: none.
-- Index: the primary key, once a row of ?1.
INSERT INTO later (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, note)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, j.value ->> 1, r.max_attempts,
    j.value ->> 2, j.value ->> 3, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, j.value ->> 4, r.ready_at,
    r.meta, r.extra, r.started_at, j.value ->> 6, j.value ->> 5
FROM json_each(?1) j
CROSS JOIN running r ON r.id = j.value ->> 0
