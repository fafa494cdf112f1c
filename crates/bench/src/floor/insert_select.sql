-- Makes jobs in the server itself. $1 how many. Locks: none. Index: those of ready.
INSERT INTO {schema}.ready (
    id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, enqueued_at, run_at, ready_at
)
SELECT j.id, 'q', 0, j.id, 'noop', '{}', 0, 25, 0, 0, now(), now(), now()
FROM (SELECT nextval('{schema}.place') AS id FROM generate_series(1, $1::bigint)) j
