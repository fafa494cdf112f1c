-- Writes decisions into the ledger. Equal ones in a row come as one entry with their number; the first of a pool is
-- counted with the pool's latest entry if it is equal to that.
-- $1 pool[]  $2 weight[]  $3 gist[]  $4 detail[]: JSON as text  $5 how many[]  $6 whether it is the first of its pool[]
-- Rows: none. Locks: the entries that are counted. Other records under this lease are waited for: fence.sql.
-- Indexes: decision_pool, once a pool; the primary key.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), run AS MATERIALIZED (
    SELECT u.*
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::boolean[])
        WITH ORDINALITY AS u (pool, weight, gist, detail, count, first, n)
), latest AS MATERIALIZED (
    SELECT l.id, r.n, r.detail, r.count
    FROM run r
    CROSS JOIN LATERAL (
        SELECT d.id, d.weight, d.gist FROM headcount.decision d WHERE d.pool = r.pool ORDER BY -d.id LIMIT 1
    ) l
    WHERE r.first AND l.weight = r.weight AND l.gist = r.gist
), again AS (
    UPDATE headcount.decision d
    SET detail = (SELECT l.detail FROM latest l WHERE l.id = d.id)::json, last_at = (SELECT c.at FROM clock c),
        count = d.count + (SELECT l.count FROM latest l WHERE l.id = d.id)
    WHERE d.id = ANY (ARRAY(SELECT l.id FROM latest l))
)
INSERT INTO headcount.decision (pool, weight, gist, detail, first_at, last_at, count)
SELECT r.pool, r.weight, r.gist, r.detail::json, c.at, c.at, r.count
FROM run r
CROSS JOIN clock c
WHERE r.n <> ALL (ARRAY(SELECT l.n FROM latest l))
ORDER BY r.n
