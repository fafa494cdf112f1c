-- Makes pools known, or what is new of them; what was ordered and is remembered stays.
-- $1 the lease  $2 name[]  $3 queues[], each separated by commas, NULL any  $4 ordered[]  $5 spec[]: JSON as text.
-- Rows: none. Locks: the pools, in order. Index: the primary key.
INSERT INTO headcount.pool (name, lease, queues, ordered, spec, published_at)
SELECT u.name, $1, string_to_array(u.queues, ','), u.ordered, u.spec::json, c.at
FROM unnest($2::text[], $3::text[], $4::boolean[], $5::text[]) AS u (name, queues, ordered, spec)
CROSS JOIN (SELECT clock_timestamp() AS at OFFSET 0) c
ORDER BY u.name
ON CONFLICT (name) DO UPDATE SET
    lease = excluded.lease,
    queues = excluded.queues,
    ordered = excluded.ordered,
    spec = excluded.spec,
    published_at = excluded.published_at
