-- Coalescing, settings for kinds, and the recent past.
--
-- A job that coalesces carries its key in `extra` ({"key": "…", "scope": "…"}), not in a column: the release before this
-- one, which may still have the file open, copies `extra` in every move and would drop a column that it does not know.
-- That release does not let go of keys when it ends a job; maintenance does.

-- Who holds a key: the primary key is the mutex, so that jobs without one pay nothing.
CREATE TABLE coalesce (
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    job_id INTEGER NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('pending', 'unfinished', 'unfinished-or-failed')),
    PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;

-- Of the held only those that run again once the holder of their key is over have `key` set: one for each key.
CREATE UNIQUE INDEX held_key ON held (queue, key) WHERE key IS NOT NULL;

-- Those whose kind is paused, so that a resumed kind is found beside others that are not.
CREATE INDEX held_paused ON held (kind, id) WHERE reason = 'paused';

-- What someone has said about a kind; one that nobody spoke about has no row.
CREATE TABLE kind (
    kind TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    retains INTEGER NOT NULL DEFAULT 0 CHECK (retains IN (0, 1)), -- whether the next two are set
    keep_completed_ms INTEGER NOT NULL DEFAULT 0,
    keep_failed_ms INTEGER -- NULL: until someone retries or deletes them
) STRICT, WITHOUT ROWID;

ALTER TABLE queue ADD COLUMN retains INTEGER NOT NULL DEFAULT 0 CHECK (retains IN (0, 1));
ALTER TABLE queue ADD COLUMN keep_completed_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue ADD COLUMN keep_failed_ms INTEGER;

-- Of the held those that any worker takes once it holds nothing else: only they are demand. Until now all were.
ALTER TABLE queue_state ADD COLUMN suspects INTEGER NOT NULL DEFAULT 0;
UPDATE queue_state SET suspects = held;

-- The counters as they stood at the beginning of each minute in which they changed: what happened in a time is a
-- difference. A minute without a row was like the beginning of the next one that has a row.
CREATE TABLE history (
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL, -- the minute's beginning
    arrived INTEGER NOT NULL,
    deferred INTEGER NOT NULL,
    promoted INTEGER NOT NULL,
    returned INTEGER NOT NULL,
    started INTEGER NOT NULL,
    late INTEGER NOT NULL,
    runs_completed INTEGER NOT NULL,
    runs_failed INTEGER NOT NULL,
    run_ms INTEGER NOT NULL,
    delays TEXT NOT NULL, -- JSON, rows of [bucket, n]
    PRIMARY KEY (queue, priority, kind, at)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_at ON history (at);

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
    r.extra ->> 'key',
    NULL,
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
    f.extra ->> 'key',
    NULL,
    f.error,
    coalesce(f.output, (SELECT b.data FROM body b WHERE b.job = f.id AND b.part = 'output'))
FROM finished f;
