-- The store's clock. Rows: one.
SELECT clock_timestamp() AS at
