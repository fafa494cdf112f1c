-- Begins a write under a lease: looks whether it is held under this number and has not run out, and takes the lock on the
-- pool that it is about.
-- $1 the lease  $2 epoch  $3 pool, or NULL. Rows: holder, and the lock; none: superseded.
-- Locks: the lease, until the transaction ends: writes under it go one by one, and nobody takes it before they are done,
-- even if it runs out meanwhile. Then the pool, alone, as in lock_pools.sql: later statements see every worker that has
-- come up there, and those that come up later see what they write. Index: the primary key.
WITH held AS MATERIALIZED (
    SELECT l.holder FROM headcount.lease l
    WHERE l.name = $1 AND l.epoch = $2 AND l.until >= clock_timestamp()
    FOR NO KEY UPDATE
)
SELECT h.holder,
       CASE WHEN $3::text IS NOT NULL
            THEN pg_advisory_xact_lock('headcount.drain'::regclass::oid::integer, hashtext($3)) END AS lock
FROM held h
