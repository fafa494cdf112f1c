-- Parked jobs: handed to a third party, until it answers or a deadline passes.
--
-- The release before this one, which may still have the file open, neither parks nor sees a parked job. What it does to
-- a running one drops the columns that are new here, and every end of an attempt but a park does so.

-- What waits for a third party's answer.
CREATE TABLE parked (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT,
    payload_codec TEXT,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    interruptions INTEGER NOT NULL,
    deaths INTEGER NOT NULL,
    timeout_ms INTEGER,
    max_run_ms INTEGER,
    options TEXT,
    enqueued_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    meta TEXT,
    extra TEXT,
    started_at INTEGER NOT NULL, -- of the attempt that parked it, as is worker
    worker TEXT NOT NULL,
    digest TEXT, -- of the secret by which it is answered for; NULL: nobody has one
    parked_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    expiry TEXT NOT NULL CHECK (expiry IN ('retry', 'fail')), -- what the deadline makes of it
    keep_completed_ms INTEGER NOT NULL,
    keep_failed_ms INTEGER, -- NULL: until someone retries or deletes it
    retry_ms INTEGER NOT NULL -- the wait before another attempt, if the answer names none
) STRICT;

CREATE INDEX parked_deadline ON parked (deadline, id);
CREATE INDEX parked_queue ON parked (queue);

-- What an attempt that may be parked is answered for by, and an answer that came before it was: JSON.
ALTER TABLE running ADD COLUMN digest TEXT;
ALTER TABLE running ADD COLUMN answer TEXT CHECK (answer IS NULL OR digest IS NOT NULL);

ALTER TABLE queue_state ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;

DROP VIEW jobs;

-- Every job in one shape. Look-ups are scalar subqueries and no joins, so that SQLite flattens the view into walks by
-- id that stop at a LIMIT.
CREATE VIEW jobs AS
SELECT r.id, r.queue, r.kind, 'queued' AS state, r.priority, r.attempt, r.max_attempts, r.interruptions, r.deaths,
    r.run_at, r.ready_at, r.enqueued_at,
    (SELECT a.started_at FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1) AS started_at,
    NULL AS finished_at,
    (SELECT a.worker FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1) AS worker,
    coalesce(r.payload, (SELECT b.data FROM body b WHERE b.job = r.id AND b.part = 'payload')) AS payload,
    r.meta,
    NULL AS deadline,
    r.extra ->> 'key' AS key,
    NULL AS reason,
    (SELECT a.error FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1) AS error,
    NULL AS output
FROM ready r
UNION ALL
SELECT h.id, h.queue, h.kind, 'queued', h.priority, h.attempt, h.max_attempts, h.interruptions, h.deaths,
    h.run_at, h.ready_at, h.enqueued_at,
    (SELECT a.started_at FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1),
    NULL,
    (SELECT a.worker FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1),
    coalesce(h.payload, (SELECT b.data FROM body b WHERE b.job = h.id AND b.part = 'payload')),
    h.meta,
    NULL,
    h.extra ->> 'key',
    h.reason,
    (SELECT a.error FROM attempt a WHERE a.job = h.id ORDER BY a.n DESC LIMIT 1),
    NULL
FROM held h
UNION ALL
SELECT r.id, r.queue, r.kind, 'running', r.priority, r.attempt + 1, r.max_attempts, r.interruptions, r.deaths,
    r.run_at, r.ready_at, r.enqueued_at,
    r.started_at,
    NULL,
    (SELECT coalesce(w.instance, w.host || ':' || w.pid) FROM worker w WHERE w.boot = r.boot),
    coalesce(r.payload, (SELECT b.data FROM body b WHERE b.job = r.id AND b.part = 'payload')),
    r.meta,
    NULL,
    r.extra ->> 'key',
    NULL,
    (SELECT a.error FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1),
    NULL
FROM running r
UNION ALL
SELECT p.id, p.queue, p.kind, 'wait_async', p.priority, p.attempt + 1, p.max_attempts, p.interruptions, p.deaths,
    p.run_at, p.ready_at, p.enqueued_at,
    p.started_at,
    NULL,
    p.worker,
    coalesce(p.payload, (SELECT b.data FROM body b WHERE b.job = p.id AND b.part = 'payload')),
    p.meta,
    p.deadline,
    p.extra ->> 'key',
    NULL,
    (SELECT a.error FROM attempt a WHERE a.job = p.id ORDER BY a.n DESC LIMIT 1),
    NULL
FROM parked p
UNION ALL
SELECT l.id, l.queue, l.kind, 'scheduled', l.priority, l.attempt, l.max_attempts, l.interruptions, l.deaths,
    l.run_at, l.ready_at, l.enqueued_at,
    l.started_at,
    NULL,
    l.worker,
    coalesce(l.payload, (SELECT b.data FROM body b WHERE b.job = l.id AND b.part = 'payload')),
    l.meta,
    NULL,
    l.extra ->> 'key',
    NULL,
    l.note,
    NULL
FROM later l
UNION ALL
SELECT f.id, f.queue, f.kind, f.state, f.priority, f.attempt, f.max_attempts, f.interruptions, f.deaths,
    f.run_at, f.ready_at, f.enqueued_at,
    f.started_at,
    f.finished_at,
    f.worker,
    coalesce(f.payload, (SELECT b.data FROM body b WHERE b.job = f.id AND b.part = 'payload')),
    f.meta,
    NULL,
    f.extra ->> 'key',
    NULL,
    f.error,
    coalesce(f.output, (SELECT b.data FROM body b WHERE b.job = f.id AND b.part = 'output'))
FROM finished f;
