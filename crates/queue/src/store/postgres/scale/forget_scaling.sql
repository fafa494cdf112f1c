-- Forgets what is old of what a scaler keeps: forget_scaling() in the migrations says what. Rows: one. Locks: what is
-- removed. Indexes: decision_age; none for the others, of which there are a few.
SELECT headcount.forget_scaling()
