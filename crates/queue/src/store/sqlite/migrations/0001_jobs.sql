-- A job is one row in exactly one of ready, running, later, held and finished, and the table is its state.
--
-- The five share their job columns, and `extra`, which every move copies untouched. Times are microseconds since 1970
-- by SQLite's clock. There is one writer at a time, so that counters are kept in place, in the transaction of the move
-- that changes them, and claims need no cursor: a deleted row is gone from the index at once.

-- Ids and seqs come from this row and never from SQLite's rowid, which hands the highest id out again once its row
-- is deleted.
CREATE TABLE allocator (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;

INSERT INTO allocator (one, last) VALUES (1, 0);

-- What may be claimed now, and nothing else.
CREATE TABLE ready (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT, -- NULL: it lies in body
    payload_codec TEXT,
    attempt INTEGER NOT NULL, -- attempts spent
    max_attempts INTEGER NOT NULL,
    interruptions INTEGER NOT NULL,
    deaths INTEGER NOT NULL,
    timeout_ms INTEGER,
    max_run_ms INTEGER,
    options TEXT, -- JSON: backoff, retention
    enqueued_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    meta TEXT,
    extra TEXT
) STRICT;

-- The order of claims; each (queue, priority) is a lane.
CREATE INDEX ready_lane ON ready (queue, priority DESC, seq);

-- What a worker holds.
CREATE TABLE running (
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
    boot INTEGER NOT NULL,
    claim INTEGER NOT NULL CHECK (claim > 0), -- (boot, claim) is the token
    started_at INTEGER NOT NULL,
    cancel_at INTEGER, -- when someone asked that it be cancelled
    begun INTEGER NOT NULL CHECK (begun IN (0, 1)) -- a beat has said that its handler started
) STRICT;

CREATE INDEX running_boot ON running (boot);
CREATE INDEX running_queue ON running (queue);

-- What is not due yet.
CREATE TABLE later (
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
    ready_at INTEGER, -- NULL: it has never been claimable
    meta TEXT,
    extra TEXT,
    started_at INTEGER, -- of its last attempt, as are worker and note
    worker TEXT,
    note TEXT -- why it waits: an attempt's error, or a snooze's reason
) STRICT;

CREATE INDEX later_due ON later (run_at, seq);
CREATE INDEX later_queue ON later (queue, run_at);

-- What is queued, but may not be claimed like the others.
CREATE TABLE held (
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
    reason TEXT NOT NULL, -- suspect: it may only run alone
    key TEXT
) STRICT;

CREATE INDEX held_reason ON held (reason, queue, priority DESC, seq);
CREATE INDEX held_queue ON held (queue);

-- What is over, kept until retried, deleted or expired.
CREATE TABLE finished (
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
    ready_at INTEGER,
    meta TEXT,
    extra TEXT,
    state TEXT NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    started_at INTEGER, -- NULL: it was cancelled before any attempt
    finished_at INTEGER NOT NULL,
    worker TEXT,
    error TEXT,
    output TEXT, -- NULL: there is none, or it lies in body
    expires_at INTEGER -- NULL: it stays
) STRICT;

CREATE INDEX finished_expiry ON finished (expires_at) WHERE expires_at IS NOT NULL;

-- Payloads and outputs too large to move with their job.
CREATE TABLE body (
    job INTEGER NOT NULL,
    part TEXT NOT NULL CHECK (part IN ('payload', 'output')),
    data TEXT NOT NULL,
    PRIMARY KEY (job, part)
) STRICT;

-- Attempts that did not complete, in the order in which they ended.
CREATE TABLE attempt (
    n INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('failed', 'interrupted', 'died', 'cancelled')),
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    worker TEXT NOT NULL,
    error TEXT NOT NULL
) STRICT;

CREATE INDEX attempt_job ON attempt (job);

-- One row a worker process.
CREATE TABLE worker (
    boot INTEGER PRIMARY KEY,
    instance TEXT,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pool TEXT,
    queues TEXT NOT NULL,
    kinds TEXT NOT NULL, -- JSON
    slots INTEGER NOT NULL,
    busy INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'draining', 'leaving', 'dead')),
    drain_epoch INTEGER NOT NULL,
    drained_by TEXT,
    drain_until INTEGER, -- NULL: the drain has no end
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT;

-- What someone has said about a queue; one that nobody spoke about has no row.
CREATE TABLE queue (
    name TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    start_within_ms INTEGER NOT NULL DEFAULT 60000
) STRICT, WITHOUT ROWID;

-- The counters: how many jobs stand where, and what has happened since the store was made.
CREATE TABLE queue_state (
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ready INTEGER NOT NULL,
    scheduled INTEGER NOT NULL,
    held INTEGER NOT NULL,
    running INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    arrived INTEGER NOT NULL,
    deferred INTEGER NOT NULL,
    promoted INTEGER NOT NULL,
    returned INTEGER NOT NULL,
    started INTEGER NOT NULL,
    late INTEGER NOT NULL,
    runs_completed INTEGER NOT NULL,
    runs_failed INTEGER NOT NULL,
    run_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, kind)
) STRICT, WITHOUT ROWID;

-- How long jobs waited for their start, by powers of two.
CREATE TABLE queue_delay (
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    kind TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, kind, bucket)
) STRICT, WITHOUT ROWID;

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
    (SELECT a.error FROM attempt a WHERE a.job = r.id ORDER BY a.n DESC LIMIT 1),
    NULL
FROM running r
UNION ALL
SELECT l.id, l.queue, l.kind, 'scheduled', l.priority, l.attempt, l.max_attempts, l.interruptions, l.deaths,
    l.run_at, l.ready_at, l.enqueued_at,
    l.started_at,
    NULL,
    l.worker,
    coalesce(l.payload, (SELECT b.data FROM body b WHERE b.job = l.id AND b.part = 'payload')),
    l.meta,
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
    f.error,
    coalesce(f.output, (SELECT b.data FROM body b WHERE b.job = f.id AND b.part = 'output'))
FROM finished f;
