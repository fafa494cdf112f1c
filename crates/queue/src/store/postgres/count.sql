-- How many jobs a filter finds: found.sql follows, and named.sql where the filter names ids. Rows: one. Locks: none.
SELECT count(*) AS jobs
FROM headcount.jobs j
