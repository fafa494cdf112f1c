-- A transaction that writes a few bytes to the log and waits until they are on the disk. Rows: one. Locks: none.
SELECT pg_logical_emit_message(true, 'headcount', 'bench')::text
