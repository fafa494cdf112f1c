-- Forgets the pools that a lease's scalers made known and that are not among these, with the drains of their places.
-- $1 the lease  $2 pool[]. Rows: none. Locks: the pools and their drains. Index: none; a row is a pool.
WITH gone AS (
    DELETE FROM headcount.pool p WHERE p.lease = $1 AND p.name <> ALL ($2::text[]) RETURNING p.name
)
DELETE FROM headcount.drain d WHERE d.pool = ANY (ARRAY(SELECT g.name FROM gone g))
