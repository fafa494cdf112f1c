-- What the server is. Rows: one. Locks: none.
SELECT concat('Postgres ', current_setting('server_version'))
