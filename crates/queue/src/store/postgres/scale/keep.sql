-- Sets leaving places back to drained; end_drains.sql comes before it, and tell.sql after it.
-- $1 pool[]  $2 instance[]: a place each. Rows: pool, instance of those that were leaving. Locks: their drains.
-- Index: the primary key.
UPDATE headcount.drain d
SET leaving_until = NULL
FROM unnest($1::text[], $2::text[]) AS u (pool, instance)
WHERE d.pool = u.pool AND d.instance = u.instance AND d.leaving_until IS NOT NULL
RETURNING d.pool, d.instance
