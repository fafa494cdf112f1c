-- The counters. Rows: a lane each, by queue, priority from high to low, kind. O(lanes), however many jobs there are.
SELECT queue, priority, kind, ready, scheduled, held, suspects, running, parked, completed, failed, cancelled,
    arrived, deferred, promoted, returned, started, late, runs_completed, runs_failed, run_ms
FROM queue_state
ORDER BY queue, priority DESC, kind
