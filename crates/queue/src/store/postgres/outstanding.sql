-- What these queues still have to do: no cursor, no gate, no skipped locks.
-- $1 queue[], NULL for all but the private ones (run:…). Rows: one. Locks: none. Index: ready_lane, later_queue.
SELECT
    CASE WHEN $1::text[] IS NULL
        THEN EXISTS (SELECT FROM headcount.ready r WHERE r.queue < 'run:')
          OR EXISTS (SELECT FROM headcount.ready r WHERE r.queue >= 'run;')
        ELSE EXISTS (SELECT FROM headcount.ready r WHERE r.queue = ANY ($1))
    END AS ready,
    CASE WHEN $1::text[] IS NULL
        THEN EXISTS (SELECT FROM headcount.later l
                     WHERE l.due_at <= (SELECT clock_timestamp()) AND NOT starts_with(l.queue, 'run:'))
        ELSE EXISTS (SELECT FROM headcount.later l
                     WHERE l.queue = ANY ($1) AND l.due_at <= (SELECT clock_timestamp()))
    END AS due,
    CASE WHEN $1::text[] IS NULL
        THEN EXISTS (SELECT FROM headcount.later l
                     WHERE l.due_at > (SELECT clock_timestamp()) AND NOT starts_with(l.queue, 'run:'))
        ELSE EXISTS (SELECT FROM headcount.later l
                     WHERE l.queue = ANY ($1) AND l.due_at > (SELECT clock_timestamp()))
    END AS scheduled,
    EXISTS (SELECT FROM headcount.held h
            WHERE h.queue = ANY ($1) OR ($1::text[] IS NULL AND NOT starts_with(h.queue, 'run:'))) AS held,
    EXISTS (SELECT FROM headcount.running r
            WHERE r.queue = ANY ($1) OR ($1::text[] IS NULL AND NOT starts_with(r.queue, 'run:'))) AS running
