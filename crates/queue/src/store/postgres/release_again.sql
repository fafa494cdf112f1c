-- Frees jobs that wait for a key that nobody holds.
-- $1 the most. Rows: one: how many became claimable. take_duty.sql comes before it.
-- Locks: held, SKIP LOCKED; keys that an application is just taking are waited for no longer than 50 ms, ten at most.
-- Index: held_again; coalesce's primary key.
SELECT headcount.release_again($1::bigint) AS freed
