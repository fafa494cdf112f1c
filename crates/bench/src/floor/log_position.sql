-- How far the server has written its log, in bytes. Rows: one. Locks: none.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
