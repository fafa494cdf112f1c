-- The leases by name. $1: this one; NULL: all. Rows: as the table, what is left of each in ms, and the time. Locks: none.
-- Index: none; there are a few.
SELECT l.name, l.holder, l.epoch, l.since, l.until,
       greatest(ceil(extract(epoch FROM l.until - c.at) * 1000), 0)::bigint AS left_ms, c.at AS read_at
FROM headcount.lease l
CROSS JOIN (SELECT clock_timestamp() AS at OFFSET 0) c
WHERE $1::text IS NULL OR l.name = $1
ORDER BY l.name
