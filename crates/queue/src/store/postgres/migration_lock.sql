-- One migration at a time, until the transaction ends: several processes may come up at once. Tried and not waited for:
-- a statement that waits keeps its view open, and an index that is built beside the work waits for every older view.
-- A key of ours: "headcoun" in ASCII. Rows: one: taken. Locks: advisory.
SELECT pg_try_advisory_xact_lock(7522525836385154414) AS taken
