-- The pools by name, each with what was decided for it last.
-- ?1: this one; NULL: all. Rows: as the table, then the columns of decision, NULL if there is none.
-- Index: decision_pool, once a pool; a row is a pool.
SELECT p.name, p.queues, p.ordered, p.spec, p.published_at, p.state, p.overridden_by, p.override_paused,
    p.override_min, p.override_max, p.override_until, d.id, d.pool, d.weight, d.gist, d.detail, d.first_at, d.last_at,
    d.count
FROM pool p
LEFT JOIN decision d ON d.id = (SELECT l.id FROM decision l WHERE l.pool = p.name ORDER BY l.id DESC LIMIT 1)
WHERE ?1 IS NULL OR p.name = ?1
ORDER BY p.name
