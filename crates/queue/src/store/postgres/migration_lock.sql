-- One migration at a time, until the transaction ends: several processes may come up at once.
-- A key of ours: "headcoun" in ASCII. Rows: one. Locks: advisory.
SELECT pg_advisory_xact_lock(7522525836385154414)
