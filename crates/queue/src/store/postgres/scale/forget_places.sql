-- Forgets the drains of places. Their workers stay as they were told: they may be about to be removed.
-- $1 pool[]  $2 instance[]: a place each. Rows: none. Locks: their drains. Index: the primary key.
DELETE FROM headcount.drain d USING unnest($1::text[], $2::text[]) AS u (pool, instance)
WHERE d.pool = u.pool AND d.instance = u.instance
