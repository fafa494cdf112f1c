-- Jobs that have run since then. Of more than so many the others are left out.
-- ?1: the time. ?2: how many at most. Rows: boot, kind, since when.
-- Index: running_boot, the whole of it: as many rows as all workers hold.
SELECT boot, kind, started_at FROM running WHERE started_at <= ?1 ORDER BY boot LIMIT ?2
