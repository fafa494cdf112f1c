-- Takes a lease that is free or has run out, or renews one's own.
-- $1 name  $2 holder  $3 length in ms. Rows: epoch, if so. Locks: the lease; a write under it that is under way is waited
-- for, so that none of an older holder comes after this. Index: the primary key.
-- The time is read after that wait. One that ran out gets a new number even for its last holder.
INSERT INTO headcount.lease AS l (name, holder, epoch, since, until)
SELECT $1, $2, 1, c.at, c.at + $3::bigint * interval '1 ms'
FROM (SELECT clock_timestamp() AS at OFFSET 0) c
ON CONFLICT (name) DO UPDATE
SET (holder, epoch, since, until) = (
    SELECT excluded.holder, l.epoch + (l.until < c.at)::integer, CASE WHEN l.until < c.at THEN c.at ELSE l.since END,
           c.at + $3::bigint * interval '1 ms'
    FROM (SELECT clock_timestamp() AS at OFFSET 0) c
)
WHERE l.holder = excluded.holder OR l.until < clock_timestamp()
RETURNING epoch
