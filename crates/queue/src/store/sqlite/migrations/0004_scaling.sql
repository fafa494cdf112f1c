-- What a scaler keeps: who acts, which pools there are, which places are drained, what was decided.
--
-- A drain belongs to a place, one instance's name in one pool, and stands there and in the rows of the workers that are
-- there: a claim reads its worker's row only, and whatever comes up reads its place's.

-- NULL: its instance's name does not end in a number.
ALTER TABLE worker ADD COLUMN ordinal INTEGER;

-- Until when it leaves with its place. NULL: it does not leave, or until someone says that it stays.
ALTER TABLE worker ADD COLUMN leaving_until INTEGER;

CREATE INDEX worker_place ON worker (pool, instance);

-- A row stays when its lease ends: its number must never come again.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pool (
    name TEXT PRIMARY KEY,
    lease TEXT NOT NULL, -- under which it was made known
    queues TEXT NOT NULL,
    ordered INTEGER NOT NULL CHECK (ordered IN (0, 1)), -- lower ordinals claim first
    spec TEXT NOT NULL, -- JSON
    published_at INTEGER NOT NULL,
    state TEXT, -- JSON: what its scaler remembers
    overridden_by TEXT, -- NULL: nobody has ordered anything
    override_paused INTEGER NOT NULL DEFAULT 0 CHECK (override_paused IN (0, 1)),
    override_min INTEGER,
    override_max INTEGER,
    override_until INTEGER -- NULL: until it is undone
) STRICT, WITHOUT ROWID;

-- A row is a drain that has not ended, or that nobody has looked at since it did. Numbers come from the allocator, so
-- that none comes twice when rows come and go.
CREATE TABLE place (
    pool TEXT NOT NULL,
    instance TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    drained_by TEXT NOT NULL,
    drained_at INTEGER NOT NULL,
    drain_until INTEGER, -- NULL: a person's, which has no end
    leaving_until INTEGER, -- NULL: it was not let go
    PRIMARY KEY (pool, instance)
) STRICT, WITHOUT ROWID;

-- The ledger: a decision, or equal ones in a row. Ids come from the allocator.
CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    pool TEXT NOT NULL,
    weight TEXT NOT NULL CHECK (weight IN ('change', 'hold')),
    gist TEXT NOT NULL,
    detail TEXT NOT NULL, -- JSON: the latest of them
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0)
) STRICT;

CREATE INDEX decision_pool ON decision (pool, id);
CREATE INDEX decision_age ON decision (weight, last_at);
