-- Copies a suspect from held into running. The same transaction has chosen them and removes them by claimed_suspect.sql.
-- ?1: JSON, the ids. ?2, ?3: the token. ?4: now. Rows: none. Index: the primary key, once an id.
INSERT INTO running (id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions,
    deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, boot, claim, started_at, begun)
SELECT r.id, r.queue, r.priority, r.seq, r.kind, r.payload, r.payload_codec, r.attempt, r.max_attempts,
    r.interruptions, r.deaths, r.timeout_ms, r.max_run_ms, r.options, r.enqueued_at, r.run_at, r.ready_at, r.meta,
    r.extra, ?2, ?3, ?4, 0
FROM json_each(?1) j
CROSS JOIN held r ON r.id = j.value
