-- The ids of the jobs that a filter finds, in their order: found.sql follows, named.sql where the filter names ids, and
-- page.sql. Rows: id. Locks: none.
SELECT j.id
FROM headcount.jobs j
