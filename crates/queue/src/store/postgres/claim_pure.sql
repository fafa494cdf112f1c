-- The beginning of a claim that settles nothing; claim.sql follows.
-- Such a claim need not be durable when it returns (0.3 ms instead of 1 ms): if the server crashes and forgets it, the
-- job is claimed again, and the token refuses the first.
WITH first AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
),
