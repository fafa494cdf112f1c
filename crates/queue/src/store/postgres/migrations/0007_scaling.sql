-- What a scaler keeps: who acts, which pools there are, which places are drained, what was decided.
--
-- A drain belongs to a place, one instance's name in one pool. It stands in `drain`, for whatever comes up there, and in
-- the rows of the workers that are there, for their claims: a claim reads its worker's row and no other.
--
-- The release before goes on working beside this one. Its workers come up as their place is told, since a trigger sees to
-- that and not the statement that announces them; they have no ordinal, so that nobody leaves jobs to them. A drain or a
-- recall by its command concerns the one worker, and the scaler's next renewal covers it.

-- ordinal: the number at the end of its instance's name. NULL: it has none.
-- leaving_until: until when it leaves with its place. NULL: it does not leave, or until someone says that it stays.
ALTER TABLE headcount.worker
    ADD COLUMN ordinal       bigint,
    ADD COLUMN leaving_until timestamptz;

CREATE INDEX worker_place ON headcount.worker (pool COLLATE "C", instance COLLATE "C");

-- Who acts. A row stays when its lease ends: its number must never come again.
CREATE TABLE headcount.lease (
    name   text        COLLATE "C" PRIMARY KEY,
    holder text        NOT NULL,
    epoch  bigint      NOT NULL,
    since  timestamptz NOT NULL,
    until  timestamptz NOT NULL
) WITH (fillfactor = 50); -- renewed in place

CREATE TABLE headcount.pool (
    name            text        COLLATE "C" PRIMARY KEY,
    lease           text        COLLATE "C" NOT NULL, -- under which it was made known
    queues          text[],                           -- NULL: any
    ordered         boolean     NOT NULL,             -- lower ordinals claim first
    spec            json        NOT NULL,
    published_at    timestamptz NOT NULL,
    state           json,                             -- what its scaler remembers
    overridden_by   text,                             -- NULL: nobody has ordered anything
    override_paused boolean     NOT NULL DEFAULT false,
    override_min    bigint,
    override_max    bigint,
    override_until  timestamptz                       -- NULL: until it is undone
) WITH (fillfactor = 50); -- state is written with each decision

-- A row is a drain of a place that has not ended, or that nobody has looked at since it did. Numbers come from the
-- sequence of ids, so that none comes twice when rows come and go.
CREATE TABLE headcount.drain (
    pool          text        COLLATE "C" NOT NULL,
    instance      text        COLLATE "C" NOT NULL,
    epoch         bigint      NOT NULL,
    drained_by    text        NOT NULL,
    drained_at    timestamptz NOT NULL,
    drain_until   timestamptz, -- NULL: a person's, which has no end
    leaving_until timestamptz, -- NULL: it was not let go
    PRIMARY KEY (pool, instance)
) WITH (fillfactor = 50); -- renewed in place

-- The ledger: a decision, or equal ones in a row.
CREATE TABLE headcount.decision (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pool     text        COLLATE "C" NOT NULL,
    weight   text        COLLATE "C" NOT NULL CHECK (weight IN ('change', 'hold')),
    gist     text        NOT NULL,
    detail   json        NOT NULL, -- the latest of them
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    count    bigint      NOT NULL CHECK (count > 0)
) WITH (fillfactor = 70); -- an equal one is counted in place

-- The latest first. Not by id itself: then a plan made on the empty table would walk all of this index to find an id.
CREATE INDEX decision_pool ON headcount.decision (pool, (-id));
-- Not by last_at, which an equal decision changes: then it could not be counted in place.
CREATE INDEX decision_age ON headcount.decision (weight, first_at);

-- A worker comes up as its place is told. Whoever drains the places of a pool or lets them go holds the same lock, alone;
-- who comes up shares it, and holds it until its row is committed. So either the worker is there when they look for those
-- that they must stop, or it comes after they have committed, and its look, a later statement than the lock, sees what
-- they wrote. Not a lock on the pool's row: a person may drain workers of a pool that no scaler has made known, and no
-- row can be locked that is not there.
-- With its owner's rights: who announces a worker need not read what is drained.
CREATE FUNCTION headcount.comes_up() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told record;
BEGIN
    IF NEW.pool IS NULL OR NEW.instance IS NULL THEN
        RETURN NEW;
    END IF;
    -- As in lock_pools.sql, but shared.
    PERFORM pg_advisory_xact_lock_shared('headcount.drain'::regclass::oid::integer, hashtext(NEW.pool));
    SELECT d.epoch, d.drained_by, d.drain_until,
           CASE WHEN d.leaving_until >= clock_timestamp() THEN d.leaving_until END AS leaving_until
    INTO told
    FROM headcount.drain d
    WHERE d.pool = NEW.pool AND d.instance = NEW.instance
      AND (d.drain_until IS NULL OR d.drain_until >= clock_timestamp());
    IF FOUND THEN
        NEW.state := CASE WHEN told.leaving_until IS NULL THEN 'draining' ELSE 'leaving' END;
        NEW.drain_epoch := told.epoch;
        NEW.drained_by := told.drained_by;
        NEW.drain_until := told.drain_until;
        NEW.leaving_until := told.leaving_until;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER worker_comes_up BEFORE INSERT ON headcount.worker
    FOR EACH ROW EXECUTE FUNCTION headcount.comes_up();

-- Forgets what is old: changes after 30 days, holds after 3, drains that have ended, and a day after its end the lease of
-- a command that ran a pool of its own (`run:…`), with that pool. With its owner's rights: whoever keeps the store in
-- order may do this and still not touch the ledger.
CREATE FUNCTION headcount.forget_scaling() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    at    CONSTANT timestamptz := clock_timestamp();
    runs  text[];
    pools text[];
BEGIN
    -- An entry that still goes on is not old, however long ago it began.
    DELETE FROM headcount.decision d
    WHERE d.id = ANY (ARRAY(
        SELECT o.id FROM headcount.decision o
        WHERE o.weight = 'change' AND o.first_at < at - interval '30 days' AND o.last_at < at - interval '30 days'
        UNION ALL
        SELECT o.id FROM headcount.decision o
        WHERE o.weight = 'hold' AND o.first_at < at - interval '3 days' AND o.last_at < at - interval '3 days'
    ));
    WITH gone AS (
        DELETE FROM headcount.lease l
        WHERE starts_with(l.name, 'run:') AND l.until < at - interval '1 day'
        RETURNING l.name
    )
    SELECT array_agg(g.name) INTO runs FROM gone g;
    WITH gone AS (
        DELETE FROM headcount.pool p WHERE p.lease = ANY (runs) RETURNING p.name
    )
    SELECT array_agg(g.name) INTO pools FROM gone g;
    -- Whoever renews an ended drain in this moment has locked it, and is found to have.
    DELETE FROM headcount.drain d WHERE d.pool = ANY (pools) OR d.drain_until < clock_timestamp();
END
$$;

REVOKE ALL ON FUNCTION headcount.comes_up(), headcount.forget_scaling() FROM PUBLIC;

-- Roles have been granted what they need before all this was there. Whoever may see the workers may see this; whoever may
-- drain workers may drain places; whoever may forget workers may forget what is old. What only a scaler does it may do
-- once it is granted anew.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT w.what, a.grantee
        FROM pg_catalog.pg_class c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
        JOIN (VALUES
            ('SELECT', 'SELECT ON headcount.lease, headcount.pool, headcount.drain, headcount.decision'),
            ('UPDATE', 'INSERT, UPDATE, DELETE ON headcount.drain'),
            ('DELETE', 'EXECUTE ON FUNCTION headcount.forget_scaling()')
        ) AS w (privilege, what) ON w.privilege = a.privilege_type
        WHERE c.oid = 'headcount.worker'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s TO %s', given.what,
                       CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END);
    END LOOP;
END
$$;
