-- Keeps workers from coming up in these pools until the transaction ends. $1 pool[]. Rows: one a lock.
-- Locks: the pools, in one order, alone; who comes up shares them (comes_up() in the migrations). What is there is to be
-- looked up in a later statement: this one's view of it may be older than the lock.
SELECT pg_advisory_xact_lock('headcount.drain'::regclass::oid::integer, p.key)
FROM (SELECT DISTINCT hashtext(u.pool) AS key FROM unnest($1::text[]) AS u (pool) ORDER BY 1 OFFSET 0) p
