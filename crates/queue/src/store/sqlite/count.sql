-- Adds a transaction's changes to the counters.
-- ?1: JSON, a row a lane: [queue, priority, kind, [nine depths], [nine flows]], in the order of the columns.
-- Rows: none. Index: the primary key.
INSERT INTO queue_state (queue, priority, kind, ready, scheduled, held, suspects, running, parked, completed,
    failed, cancelled, arrived, deferred, promoted, returned, started, late, runs_completed, runs_failed, run_ms)
SELECT value ->> '$[0]', value ->> '$[1]', value ->> '$[2]',
    value ->> '$[3][0]', value ->> '$[3][1]', value ->> '$[3][2]', value ->> '$[3][3]', value ->> '$[3][4]',
    value ->> '$[3][5]', value ->> '$[3][6]', value ->> '$[3][7]', value ->> '$[3][8]',
    value ->> '$[4][0]', value ->> '$[4][1]', value ->> '$[4][2]', value ->> '$[4][3]', value ->> '$[4][4]',
    value ->> '$[4][5]', value ->> '$[4][6]', value ->> '$[4][7]', value ->> '$[4][8]'
FROM json_each(?1)
WHERE true
ON CONFLICT (queue, priority, kind) DO UPDATE SET
    ready = ready + excluded.ready,
    scheduled = scheduled + excluded.scheduled,
    held = held + excluded.held,
    suspects = suspects + excluded.suspects,
    running = running + excluded.running,
    parked = parked + excluded.parked,
    completed = completed + excluded.completed,
    failed = failed + excluded.failed,
    cancelled = cancelled + excluded.cancelled,
    arrived = arrived + excluded.arrived,
    deferred = deferred + excluded.deferred,
    promoted = promoted + excluded.promoted,
    returned = returned + excluded.returned,
    started = started + excluded.started,
    late = late + excluded.late,
    runs_completed = runs_completed + excluded.runs_completed,
    runs_failed = runs_failed + excluded.runs_failed,
    run_ms = run_ms + excluded.run_ms
