-- Statistics of empty tables, which nothing renews: what plans are made of where a backlog comes in at once.
-- Locks: each table, for a moment.
ALTER TABLE {schema}.ready SET (autovacuum_enabled = false);
ALTER TABLE {schema}.running SET (autovacuum_enabled = false);
ALTER TABLE {schema}.later SET (autovacuum_enabled = false);
VACUUM ANALYZE {schema}.ready;
VACUUM ANALYZE {schema}.running;
VACUUM ANALYZE {schema}.later
