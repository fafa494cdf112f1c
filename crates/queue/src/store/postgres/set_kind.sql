-- Sets something for a kind; what is NULL stays as it is.
-- $1 kind  $2 paused  $3 whether $4 and $5 are set  $4 keep_completed_ms  $5 keep_failed_ms (NULL: without end).
-- Rows: none. Locks: the kind. Index: kind's primary key.
INSERT INTO headcount.kind AS k (kind, paused, retains, keep_completed_ms, keep_failed_ms)
VALUES ($1, coalesce($2::boolean, false), coalesce($3::boolean, false), coalesce($4::bigint, 0), $5::bigint)
ON CONFLICT (kind) DO UPDATE SET
    paused = coalesce($2::boolean, k.paused),
    retains = coalesce($3::boolean, k.retains),
    keep_completed_ms = CASE WHEN $3::boolean IS NULL THEN k.keep_completed_ms ELSE excluded.keep_completed_ms END,
    keep_failed_ms = CASE WHEN $3::boolean IS NULL THEN k.keep_failed_ms ELSE excluded.keep_failed_ms END
