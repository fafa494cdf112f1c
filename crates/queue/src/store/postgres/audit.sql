-- Compares the counters, folded or not, with a recount, all in one view of the store, and appends what they lack.
-- take_duty.sql comes before it: a fold that commits meanwhile would be half in view.
-- Rows: a lane each that differed. Locks: none. Reads every job: dear, and meant to be rare.
-- A version of the release before does not say how many are parked: that is no difference, and an empty delta has the
-- next fold count them.
WITH counted AS (
    SELECT c.queue, c.priority, c.kind,
               coalesce(sum(c.ready), 0)::bigint AS ready, coalesce(sum(c.scheduled), 0)::bigint AS scheduled,
               coalesce(sum(c.held), 0)::bigint AS held, coalesce(sum(c.suspects), 0)::bigint AS suspects,
               coalesce(sum(c.running), 0)::bigint AS running, coalesce(sum(c.parked), 0)::bigint AS parked,
               coalesce(sum(c.completed), 0)::bigint AS completed,
               coalesce(sum(c.failed), 0)::bigint AS failed, coalesce(sum(c.cancelled), 0)::bigint AS cancelled,
               bool_or(c.silent) AS silent
    FROM (
        SELECT s.queue, s.priority, s.kind, s.ready, s.scheduled, s.held, s.suspects, s.running, s.parked, s.completed,
               s.failed, s.cancelled, s.parked IS NULL AS silent
        FROM headcount.lane l
        CROSS JOIN LATERAL (
            SELECT n.* FROM headcount.queue_state n
            WHERE n.queue = l.queue AND n.priority = l.priority AND n.kind = l.kind
            ORDER BY n.version DESC LIMIT 1
        ) s
        UNION ALL
        SELECT t.queue, t.priority, t.kind, t.ready, t.scheduled, t.held, t.suspects, t.running, t.parked, t.completed,
               t.failed, t.cancelled, false
        FROM headcount.tally t
    ) c
    GROUP BY c.queue, c.priority, c.kind
), actual AS (
    SELECT queue, priority, kind,
               count(*) FILTER (WHERE place = 'ready') AS ready,
               count(*) FILTER (WHERE place = 'scheduled') AS scheduled,
               count(*) FILTER (WHERE place IN ('held', 'suspect')) AS held,
               count(*) FILTER (WHERE place = 'suspect') AS suspects,
               count(*) FILTER (WHERE place = 'running') AS running,
               count(*) FILTER (WHERE place = 'parked') AS parked,
               count(*) FILTER (WHERE place = 'completed') AS completed,
               count(*) FILTER (WHERE place = 'failed') AS failed,
               count(*) FILTER (WHERE place = 'cancelled') AS cancelled
    FROM (
        SELECT queue, priority, kind, 'ready' AS place FROM headcount.ready
        UNION ALL
        SELECT queue, priority, kind, 'scheduled' FROM headcount.later
        UNION ALL
        SELECT queue, priority, kind, CASE WHEN reason = 'suspect' THEN 'suspect' ELSE 'held' END FROM headcount.held
        UNION ALL
        SELECT queue, priority, kind, 'running' FROM headcount.running
        UNION ALL
        SELECT queue, priority, kind, 'parked' FROM headcount.parked
        UNION ALL
        SELECT queue, priority, kind, state FROM headcount.finished
    ) j
    GROUP BY queue, priority, kind
), compared AS (
    SELECT coalesce(c.queue, a.queue) AS queue, coalesce(c.priority, a.priority) AS priority,
           coalesce(c.kind, a.kind) AS kind,
           coalesce(c.ready, 0) AS counted_ready, coalesce(c.scheduled, 0) AS counted_scheduled,
           coalesce(c.held, 0) AS counted_held, coalesce(c.suspects, 0) AS counted_suspects,
           coalesce(c.running, 0) AS counted_running,
           CASE WHEN c.silent THEN coalesce(a.parked, 0) ELSE coalesce(c.parked, 0) END AS counted_parked,
           coalesce(c.completed, 0) AS counted_completed, coalesce(c.failed, 0) AS counted_failed,
           coalesce(c.cancelled, 0) AS counted_cancelled, coalesce(a.ready, 0) AS actual_ready,
           coalesce(a.scheduled, 0) AS actual_scheduled, coalesce(a.held, 0) AS actual_held,
           coalesce(a.suspects, 0) AS actual_suspects,
           coalesce(a.running, 0) AS actual_running, coalesce(a.parked, 0) AS actual_parked,
           coalesce(a.completed, 0) AS actual_completed,
           coalesce(a.failed, 0) AS actual_failed, coalesce(a.cancelled, 0) AS actual_cancelled,
           coalesce(c.silent, false) AS silent
    FROM counted c
    FULL JOIN actual a ON a.queue = c.queue AND a.priority = c.priority AND a.kind = c.kind
), drift AS MATERIALIZED (
    SELECT * FROM compared
    WHERE (counted_ready, counted_scheduled, counted_held, counted_suspects, counted_running, counted_parked,
           counted_completed, counted_failed, counted_cancelled)
       IS DISTINCT FROM (actual_ready, actual_scheduled, actual_held, actual_suspects, actual_running, actual_parked,
           actual_completed, actual_failed, actual_cancelled)
), repaired AS (
    INSERT INTO headcount.tally (
        queue, priority, kind, ready, scheduled, held, suspects, running, parked, completed, failed, cancelled
    )
    SELECT queue, priority, kind,
           nullif(actual_ready - counted_ready, 0), nullif(actual_scheduled - counted_scheduled, 0),
           nullif(actual_held - counted_held, 0), nullif(actual_suspects - counted_suspects, 0),
           nullif(actual_running - counted_running, 0), nullif(actual_parked - counted_parked, 0),
           nullif(actual_completed - counted_completed, 0), nullif(actual_failed - counted_failed, 0),
           nullif(actual_cancelled - counted_cancelled, 0)
    FROM drift
    UNION ALL
    SELECT queue, priority, kind, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM compared WHERE silent
)
SELECT * FROM drift ORDER BY queue, priority DESC, kind
