-- Writes down what a person has ordered for a pool, in place of what was ordered before.
-- $1 pool  $2 by whom, NULL if nothing is ordered  $3 paused  $4 min  $5 max  $6 until. Rows: name, if the pool is known.
-- Locks: the pool. Index: the primary key.
UPDATE headcount.pool
SET overridden_by = $2, override_paused = $3, override_min = $4, override_max = $5, override_until = $6
WHERE name = $1
RETURNING name
