-- Ends a lease now. $1 name  $2 epoch. Rows: name, if it was held under that number. Locks: the lease.
-- Index: the primary key.
UPDATE headcount.lease SET until = clock_timestamp() - interval '1 microsecond'
WHERE name = $1 AND epoch = $2 AND until >= clock_timestamp()
RETURNING name
