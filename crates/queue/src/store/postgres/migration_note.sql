-- Notes that a migration was made. $1 version  $2 what it is called  $3 checksum  $4 nanoseconds that it took.
-- Rows: none. Locks: none.
INSERT INTO headcount.migration (version, description, success, checksum, execution_time)
VALUES ($1, $2, true, $3, $4)
