-- Copies running jobs into parked, each with the secret's digest that its attempt has.
-- ?1: JSON, rows of [id, interruptions, deaths, worker, deadline, expiry, keep_completed_ms, keep_failed_ms, retry_ms].
-- ?2: now. Rows: none. Index: the primary key, once a row of ?1.
INSERT INTO parked (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker, digest,
    parked_at, deadline, expiry, keep_completed_ms, keep_failed_ms, retry_ms)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, r.attempt, r.max_attempts,
    j.value ->> 1, j.value ->> 2, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at, r.ready_at, r.meta,
    r.extra, r.started_at, j.value ->> 3, r.digest, ?2, j.value ->> 4, j.value ->> 5, j.value ->> 6, j.value ->> 7,
    j.value ->> 8
FROM json_each(?1) j
CROSS JOIN running r ON r.id = j.value ->> 0
