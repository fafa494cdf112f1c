-- Asks a queue that is not ours how much it has to do, by a query of its owner's: in the place of the braces. As a part of
-- this one it can only ever be one SELECT, and its numbers may be of any type.
-- No parameters. Rows: one, by contract; a second shows that it is not. Locks: none of ours. Index: its owner's.
SELECT
    given.pending::float8 AS pending,
    given.oldest_s::float8 AS oldest_s,
    given.running::float8 AS running
FROM (
{}
) AS given
LIMIT 2
