-- Copies jobs in, a line each. Locks: none. Index: those of ready.
COPY {schema}.ready (
    id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, enqueued_at, run_at, ready_at
) FROM STDIN
