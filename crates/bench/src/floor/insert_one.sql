-- Makes one job. $1 queue  $2 kind  $3 payload. Locks: none. Index: those of ready.
INSERT INTO {schema}.ready (
    id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, enqueued_at, run_at, ready_at
)
SELECT j.id, $1::text, 0, j.id, $2::text, $3::text::json, 0, 25, 0, 0, now(), now(), now()
FROM (SELECT nextval('{schema}.place') AS id) j
