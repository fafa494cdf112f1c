-- Claims jobs. Follows claim_pure.sql or claim_fused.sql, whose `first` is done first: what ends is locked before what
-- begins, in every claim alike, or they deadlock.
-- $1 boot  $2 the claim's number  $3 the most jobs  $4 queue[]  $5 priority[]  $6 seq[]: the lanes in the order in
-- which they are served, and where to start in each  $7 the edges of the ranges of bound queues: in, out, in, out (a
-- name with an odd number of them at or before it is inside)  $8 whether the worker holds nothing, and so may take a
-- suspect  $9 the ids that `first` has settled  $10 recalls as last read, or NULL.
-- Rows: at least one: gate, recalls, suspects and asleep in each, and a job each or NULL. Any order.
-- Locks: the worker FOR SHARE, only what is taken from held or ready. Index: ready_lane; ready's primary key; kind_paused,
-- queue_paused and queue_asleep, which are empty or small.
gate AS MATERIALIZED (
    -- A row lock and not a predicate: a drain's UPDATE waits for it, so that no claim is in flight when it returns.
    SELECT w.boot, w.queues FROM headcount.worker w
    WHERE w.boot = $1 AND (SELECT count(*) FROM first) > 0
      -- A drain and a leave end by themselves.
      AND (w.state = 'active'
           OR (w.drain_until < clock_timestamp()
               AND (w.state = 'draining' OR (w.state = 'leaving' AND w.leaving_until < clock_timestamp()))))
    FOR SHARE SKIP LOCKED
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), paused AS MATERIALIZED (
    -- Once for all who ask: looking into an index costs more than the empty answer.
    SELECT ARRAY(SELECT q.queue FROM headcount.queue q WHERE q.paused) AS queues,
           ARRAY(SELECT k.kind FROM headcount.kind k WHERE k.paused) AS kinds
), recalls AS MATERIALIZED (
    SELECT coalesce(sum(q.recalls), 0)::bigint AS n
    FROM generate_series(1, cardinality($7::text[]), 2) i
    JOIN headcount.queue q ON q.queue >= ($7::text[])[i] AND q.queue < ($7::text[])[i + 1]
), suspect AS (
    DELETE FROM headcount.held
    WHERE id = ANY (ARRAY(
        SELECT h.id FROM headcount.held h
        WHERE h.reason = 'suspect'
          AND CASE WHEN $8 AND $3::bigint > 0 AND EXISTS (SELECT FROM gate)
                    AND EXISTS (SELECT FROM headcount.held s WHERE s.reason = 'suspect')
              -- The worker says that it holds nothing; so must the store, or the death could be a neighbour's. Asked
              -- last, for it walks over all that the worker has claimed, dead rows included.
              THEN NOT EXISTS (SELECT FROM headcount.running r WHERE r.boot = $1 AND r.id <> ALL ($9::bigint[]))
              ELSE false END
          AND width_bucket(h.queue, $7::text[]) % 2 = 1
          AND h.queue <> ALL ((SELECT p.queues FROM paused p)::text[])
          AND h.kind <> ALL ((SELECT p.kinds FROM paused p)::text[])
        ORDER BY h.priority DESC, h.seq
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
), lane AS MATERIALIZED (
    -- Jobs were put back into their places, which lie behind: this claim looks for them itself.
    SELECT l.queue, l.priority, CASE WHEN (SELECT r.n FROM recalls r) <> $10::bigint THEN 0 ELSE l.seq END AS seq
    FROM unnest($4::text[], $5::smallint[], $6::bigint[]) WITH ORDINALITY AS l (queue, priority, seq, place)
    WHERE EXISTS (SELECT FROM gate) AND NOT EXISTS (SELECT FROM suspect)
      AND l.queue <> ALL ((SELECT p.queues FROM paused p)::text[])
    ORDER BY l.place
), taken AS (
    DELETE FROM headcount.ready
    -- By place, which spares a walk down an index for each. A row that was changed as this statement began is locked
    -- and, at its new place, not seen: the claim comes back short, and the sweep after a short one finds it.
    WHERE ctid = ANY (ARRAY(
        -- The lanes come in order, so nothing is merged or sorted, and the outer LIMIT stops the walk: rows that are
        -- not taken are never locked, and rows that others have locked are made up for by the next lane.
        SELECT r.place
        FROM lane l
        CROSS JOIN LATERAL (
            SELECT r.ctid AS place FROM headcount.ready r
            WHERE r.queue = l.queue AND r.priority = l.priority AND r.seq >= l.seq
              -- Jobs of paused kinds that maintenance has not moved out of the way yet.
              AND r.kind <> ALL ((SELECT p.kinds FROM paused p)::text[])
              -- Here a claim that leaves kinds to others has claim_spared.sql.
            ORDER BY r.seq
            LIMIT $3::bigint
            FOR UPDATE SKIP LOCKED
        ) r
        LIMIT $3::bigint
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
), got AS NOT MATERIALIZED (
    SELECT * FROM taken UNION ALL SELECT * FROM suspect
), moved AS (
    -- From what the deletes gave back, never from the locking selects: a row skipped after a concurrent change would
    -- be claimed twice.
    INSERT INTO headcount.running (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, boot, claim, started_at
    )
    SELECT g.id, g.queue, g.priority, g.seq, g.kind, g.payload, g.payload_codec, g.attempt, g.max_attempts,
           g.interruptions, g.deaths, g.timeout_ms, g.max_run_ms, g.options, g.enqueued_at, g.run_at, g.ready_at,
           g.meta, g.extra, $1, $2, c.at
    FROM clock c
    CROSS JOIN got g
), pending AS MATERIALIZED (
    -- A key of scope pending goes with the first claim.
    SELECT headcount.let_go(array_agg(t.id), array_agg(t.queue), array_agg(t.extra ->> 'key'))
    FROM taken t
    WHERE t.extra IS NOT NULL AND t.attempt = 0 AND t.extra ->> 'scope' = 'pending'
    HAVING count(*) > 0
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, held, suspects, running, started, late, delay_bucket)
    SELECT s.queue, s.priority, s.kind,
           CASE WHEN NOT EXISTS (SELECT FROM suspect) THEN -count(*) END,
           CASE WHEN EXISTS (SELECT FROM suspect) THEN -count(*) END,
           CASE WHEN EXISTS (SELECT FROM suspect) THEN -count(*) END,
           count(*), count(*), nullif(count(*) FILTER (WHERE s.late), 0), s.delay_bucket
    FROM (
        SELECT g.queue, g.priority, g.kind,
               c.at - g.ready_at > coalesce(
                   (SELECT q.start_within_ms FROM headcount.queue q WHERE q.queue = g.queue), 60000
               ) * interval '1 ms' AS late,
               -- Bucket b holds delays up to 2^b ms. In seconds, and between two microseconds.
               width_bucket(date_part('epoch', c.at - g.ready_at), '{
                   0.0010005, 0.0020005, 0.0040005, 0.0080005, 0.0160005, 0.0320005, 0.0640005, 0.1280005, 0.2560005,
                   0.5120005, 1.0240005, 2.0480005, 4.0960005, 8.1920005, 16.3840005, 32.7680005, 65.5360005,
                   131.0720005, 262.1440005, 524.2880005, 1048.5760005, 2097.1520005}'::float8[]) AS delay_bucket
        FROM clock c
        CROSS JOIN got g
    ) s
    GROUP BY s.queue, s.priority, s.kind, s.delay_bucket
)
SELECT a.gate, a.recalls, a.suspects, a.asleep, g.id, g.queue, g.priority, g.seq, g.kind, g.payload::text AS payload,
       g.attempt, g.max_attempts, g.interruptions, g.deaths, g.timeout_ms, g.max_run_ms, g.options::text AS options,
       g.enqueued_at, g.run_at, g.ready_at, c.at AS started_at, g.meta::text AS meta
FROM (
    SELECT
        CASE WHEN EXISTS (SELECT FROM gate) THEN 'open' ELSE coalesce(
            -- Active, and yet no gate: something held the row for a moment.
            (SELECT CASE
                 WHEN w.state = 'leaving' AND (w.leaving_until < clock_timestamp()) IS NOT TRUE THEN w.state
                 WHEN w.state IN ('draining', 'leaving')
                     THEN CASE WHEN w.drain_until < clock_timestamp() THEN 'active' ELSE 'draining' END
                 ELSE w.state
             END
             FROM headcount.worker w WHERE w.boot = $1),
            'dead') END AS gate,
        (SELECT r.n FROM recalls r) AS recalls,
        EXISTS (
            SELECT FROM headcount.held h
            WHERE h.reason = 'suspect' AND h.id <> ALL (ARRAY(SELECT s.id FROM suspect s))
              AND width_bucket(h.queue, $7::text[]) % 2 = 1
              AND h.queue <> ALL ((SELECT p.queues FROM paused p)::text[])
              AND h.kind <> ALL ((SELECT p.kinds FROM paused p)::text[])
        ) AS suspects,
        -- Every row that the worker's binding stands for: '*' for any, a prefix as it was given.
        (SELECT coalesce(g.queues, '{*}') <@ ARRAY(SELECT q.queue FROM headcount.queue q WHERE q.asleep)
         FROM gate g) IS TRUE AS asleep
) a
CROSS JOIN clock c
LEFT JOIN got g ON true
WHERE (SELECT count(*) FROM pending) >= 0
