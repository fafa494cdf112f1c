-- Keeps what a scaler is to remember of its pools. $1 pool[], each once  $2 state[]: JSON as text. Rows: none.
-- Locks: the pools, in order. Index: the primary key.
UPDATE headcount.pool p
SET state = u.state::json
FROM unnest($1::text[], $2::text[]) AS u (name, state)
WHERE p.name = u.name
  AND p.name = ANY (ARRAY(
      SELECT o.name FROM headcount.pool o WHERE o.name = ANY ($1::text[]) ORDER BY o.name FOR NO KEY UPDATE
  ))
