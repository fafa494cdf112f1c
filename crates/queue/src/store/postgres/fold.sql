-- Adds the counters' deltas to their newest versions, as new versions, and keeps the last version of each minute as
-- history. take_duty.sql comes before it: two at once would both add to the same version.
-- $1 the cursor: deltas with a higher id  $2 the most
-- Rows: one: how many, and the highest id. Locks: the deltas. Index: tally's and queue_state's primary keys; parked_lane.
-- What is deleted is what is summed: "sum, then delete up to the highest" loses those of a late commit.
-- Where the release before has folded, the newest version does not say how many are parked, and some of their deltas
-- are lost: they are counted, less what other deltas will still add.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), taken AS (
    DELETE FROM headcount.tally
    WHERE id = ANY (ARRAY(
        SELECT t.id FROM headcount.tally t WHERE t.id > $1::bigint ORDER BY t.id LIMIT $2::bigint
    ))
    RETURNING id, queue, priority, kind,
              ready, scheduled, held, suspects, running, parked, completed, failed, cancelled, arrived, deferred,
              promoted, returned, started, late, done, errored, run_ms, delay_bucket
), summed AS MATERIALIZED (
    SELECT queue, priority, kind,
           coalesce(sum(ready), 0)::bigint AS ready, coalesce(sum(scheduled), 0)::bigint AS scheduled,
           coalesce(sum(held), 0)::bigint AS held, coalesce(sum(suspects), 0)::bigint AS suspects,
           coalesce(sum(running), 0)::bigint AS running, coalesce(sum(parked), 0)::bigint AS parked,
           coalesce(sum(completed), 0)::bigint AS completed,
           coalesce(sum(failed), 0)::bigint AS failed, coalesce(sum(cancelled), 0)::bigint AS cancelled,
           coalesce(sum(arrived), 0)::bigint AS arrived,
           coalesce(sum(deferred), 0)::bigint AS deferred, coalesce(sum(promoted), 0)::bigint AS promoted,
           coalesce(sum(returned), 0)::bigint AS returned, coalesce(sum(started), 0)::bigint AS started,
           coalesce(sum(late), 0)::bigint AS late, coalesce(sum(done), 0)::bigint AS done,
           coalesce(sum(errored), 0)::bigint AS errored, coalesce(sum(run_ms), 0)::bigint AS run_ms,
           ARRAY[
               coalesce(sum(started) FILTER (WHERE delay_bucket = 0), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 1), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 2), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 3), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 4), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 5), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 6), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 7), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 8), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 9), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 10), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 11), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 12), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 13), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 14), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 15), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 16), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 17), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 18), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 19), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 20), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 21), 0)::bigint,
               coalesce(sum(started) FILTER (WHERE delay_bucket = 22), 0)::bigint
           ] AS delays
    FROM taken
    GROUP BY queue, priority, kind
), lanes AS (
    INSERT INTO headcount.lane (queue, priority, kind)
    SELECT queue, priority, kind FROM summed ORDER BY queue, priority, kind
    ON CONFLICT DO NOTHING
), minutes AS (
    -- What the newest version says stood so until now: at the end of its minute too, if that is over.
    INSERT INTO headcount.history (
        queue, priority, kind, at, arrived, deferred, promoted, returned, started, late, done, errored, run_ms, delays
    )
    SELECT p.queue, p.priority, p.kind, date_trunc('minute', p.at, 'UTC'), p.arrived, p.deferred, p.promoted,
           p.returned, p.started, p.late, p.done, p.errored, p.run_ms, p.delays
    FROM summed s
    CROSS JOIN LATERAL (
        SELECT n.* FROM headcount.queue_state n
        WHERE n.queue = s.queue AND n.priority = s.priority AND n.kind = s.kind
        ORDER BY n.version DESC LIMIT 1
    ) p
    CROSS JOIN clock c
    WHERE p.at < date_trunc('minute', c.at, 'UTC')
    ON CONFLICT DO NOTHING
), appended AS (
    INSERT INTO headcount.queue_state (
        queue, priority, kind, at,
        ready, scheduled, held, suspects, running, parked, completed, failed, cancelled, arrived, deferred, promoted,
        returned, started, late, done, errored, run_ms, delays
    )
    SELECT s.queue, s.priority, s.kind, (SELECT c.at FROM clock c),
           s.ready + coalesce(p.ready, 0), s.scheduled + coalesce(p.scheduled, 0), s.held + coalesce(p.held, 0),
           s.suspects + coalesce(p.suspects, 0), s.running + coalesce(p.running, 0),
           s.parked + CASE WHEN p.version IS NULL OR p.parked IS NOT NULL THEN coalesce(p.parked, 0) ELSE
               (SELECT count(*) FROM headcount.parked j
                WHERE j.queue = s.queue AND j.priority = s.priority AND j.kind = s.kind)
               - (SELECT coalesce(sum(t.parked), 0)::bigint FROM headcount.tally t
                  -- id > 0: by the index, as all here.
                  WHERE t.id > 0 AND t.queue = s.queue AND t.priority = s.priority AND t.kind = s.kind)
           END,
           s.completed + coalesce(p.completed, 0), s.failed + coalesce(p.failed, 0),
           s.cancelled + coalesce(p.cancelled, 0),
           s.arrived + coalesce(p.arrived, 0), s.deferred + coalesce(p.deferred, 0),
           s.promoted + coalesce(p.promoted, 0), s.returned + coalesce(p.returned, 0),
           s.started + coalesce(p.started, 0), s.late + coalesce(p.late, 0), s.done + coalesce(p.done, 0),
           s.errored + coalesce(p.errored, 0), s.run_ms + coalesce(p.run_ms, 0),
           ARRAY(SELECT s.delays[i] + coalesce(p.delays[i], 0) FROM generate_series(1, 23) i ORDER BY i)
    FROM summed s
    LEFT JOIN LATERAL (
        SELECT n.* FROM headcount.queue_state n
        WHERE n.queue = s.queue AND n.priority = s.priority AND n.kind = s.kind
        ORDER BY n.version DESC LIMIT 1
    ) p ON true
)
SELECT count(*) AS deltas, max(id) AS last FROM taken
