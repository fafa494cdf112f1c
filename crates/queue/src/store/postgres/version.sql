-- The version of the store's tables. Rows: one, NULL where no migration has ended. Locks: none.
SELECT max(m.version) AS version FROM headcount.migration m WHERE m.success
