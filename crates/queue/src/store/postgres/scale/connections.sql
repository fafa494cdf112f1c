-- How many connections the server bears and how many there are. Rows: one: max, used. Locks: none.
-- Whoever may not see the sessions of others sees that they are there, and of which database and user, but not what sort
-- they are: parallel workers of theirs are counted. Without database or user are the server's own processes.
SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
           -- Since Postgres 16.
           - coalesce(current_setting('reserved_connections', true)::bigint, 0) AS max,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
        WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL
          AND coalesce(a.backend_type, 'client backend') = 'client backend') AS used
