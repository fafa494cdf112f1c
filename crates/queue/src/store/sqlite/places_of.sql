-- The places of workers that may be drained.
-- ?1: JSON, their boot ids. Rows: pool, instance of each place, once. Index: the primary key.
SELECT DISTINCT pool, instance
FROM worker
WHERE boot IN (SELECT value FROM json_each(?1))
    AND state IN ('active', 'draining')
    AND pool IS NOT NULL
    AND instance IS NOT NULL
