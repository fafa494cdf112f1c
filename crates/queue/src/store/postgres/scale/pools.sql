-- The pools by name, each with what was decided for it last. $1: this one; NULL: all.
-- Rows: as the table, without an order that has ended, the columns of decision, NULL if there is none, and the time.
-- Locks: none. Index: decision_pool, once a pool; a row is a pool.
SELECT p.name, p.queues, p.ordered, p.spec::text AS spec, p.published_at, p.state::text AS state,
       CASE WHEN p.override_until IS NULL OR p.override_until >= c.at THEN p.overridden_by END AS overridden_by,
       p.override_paused, p.override_min, p.override_max, p.override_until,
       d.id, d.pool, d.weight, d.gist, d.detail::text AS detail, d.first_at, d.last_at, d.count, c.at AS read_at
FROM headcount.pool p
CROSS JOIN (SELECT clock_timestamp() AS at OFFSET 0) c
LEFT JOIN LATERAL (
    SELECT l.* FROM headcount.decision l WHERE l.pool = p.name ORDER BY -l.id LIMIT 1
) d ON true
WHERE $1::text IS NULL OR p.name = $1
ORDER BY p.name
