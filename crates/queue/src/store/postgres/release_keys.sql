-- Lets go of keys whose job is in no state that may hold it.
-- $1 how many to look at  $2 queue  $3 key: after these; NULLs: from the first. take_duty.sql comes before it.
-- Rows: one: how many jobs became claimable thereby, and where the next pass begins, NULL at the end.
-- Locks: coalesce and held, SKIP LOCKED. Index: coalesce's primary key; those of the jobs.
SELECT r.freed, r.last_queue, r.last_key FROM headcount.release_keys($1::bigint, $2::text, $3::text) r
