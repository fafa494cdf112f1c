-- At most one job waits to run again under a key: whoever inserts a second one finds the first. By an index of its own
-- version, since it is built while `held` is in use.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS held_again ON headcount.held (queue, key) WHERE reason = 'again'
