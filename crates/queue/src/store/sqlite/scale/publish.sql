-- Makes pools known, or what is new of them; what was ordered and is remembered stays.
-- ?1: JSON, rows of [name, queues, ordered, spec as text]. ?2: the lease. ?3: now. Rows: none. Index: the primary key.
INSERT INTO pool (name, lease, queues, ordered, spec, published_at)
SELECT value ->> 0, ?2, value ->> 1, value ->> 2, value ->> 3, ?3
FROM json_each(?1)
WHERE true
ON CONFLICT (name) DO UPDATE SET
    lease = excluded.lease,
    queues = excluded.queues,
    ordered = excluded.ordered,
    spec = excluded.spec,
    published_at = excluded.published_at
