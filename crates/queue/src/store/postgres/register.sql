-- Announces a worker; a second time, after a lost answer, it changes nothing but the time. It comes up as its place is
-- told: comes_up() in the migrations sees to that.
-- $1 boot  $2 instance  $3 host  $4 pid  $5 pool  $6 queue[] or NULL  $7 kind[]  $8 slots  $9 ordinal
-- Rows: state; none when the worker is taken for dead. Locks: its pool, shared; the worker.
INSERT INTO headcount.worker AS w (
    boot, instance, host, pid, pool, queues, kinds, slots, ordinal, state, started_at, beat_at
)
SELECT $1, $2, $3, $4, $5, $6::text[], $7::text[], $8, $9, 'active', c.at, c.at
FROM (SELECT clock_timestamp() AS at OFFSET 0) c
ON CONFLICT (boot) DO UPDATE SET beat_at = excluded.beat_at WHERE w.state <> 'dead'
RETURNING state
