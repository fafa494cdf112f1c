-- Forgets dead workers that own nothing any more: no claim can give them anything. Rows: boot. Locks: the workers.
DELETE FROM headcount.worker
WHERE boot = ANY (ARRAY(
    SELECT w.boot FROM headcount.worker w
    WHERE w.state = 'dead' AND NOT EXISTS (SELECT FROM headcount.running r WHERE r.boot = w.boot)
    FOR UPDATE SKIP LOCKED
))
RETURNING boot
