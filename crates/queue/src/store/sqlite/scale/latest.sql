-- What was decided last for a pool.
-- ?1: the pool. Rows: none or one: id, weight, gist. Index: decision_pool.
SELECT id, weight, gist FROM decision WHERE pool = ?1 ORDER BY id DESC LIMIT 1
