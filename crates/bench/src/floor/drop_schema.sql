-- Removes a schema of the bench's own with all that is in it. Locks: all of that.
DROP SCHEMA IF EXISTS {schema} CASCADE
