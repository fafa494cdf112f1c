-- The migrations that have been made. Rows: one each, by version. Locks: none.
SELECT m.version, m.success, m.checksum FROM headcount.migration m ORDER BY m.version
