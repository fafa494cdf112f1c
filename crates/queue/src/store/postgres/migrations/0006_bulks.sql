-- Bulks of jobs with keys, set-wise, and in one order whatever happens beside them.
--
-- Until now each key that was taken was met by itself: 50,000 that replace took 6 to 15 s, beyond the time of a call.
-- And what had to be tried again, since its holder had just moved, was taken out of order, under what was held already:
-- two bulks could wait for each other.
--
-- lock_waiting, replace_waiting and hold_again serve nobody any more. They stay for enqueues that are under way now; a
-- later release may drop them.

-- Gives jobs that are locked where they wait (ready, later, held) another payload and run time; those move that are on
-- the other side of now. Each job once.
CREATE FUNCTION headcount.replace_all(jobs bigint[], contents text[], dues timestamptz[], inline_bytes integer)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
BEGIN
    DELETE FROM headcount.body b WHERE b.job_id = ANY (jobs) AND b.part = 0;
    -- Rows are named by their ids and never joined with arrays: that joins whole tables, by a plan that was made while
    -- they were empty. What is joined is what comes out of them.
    WITH wanted AS MATERIALIZED (
        SELECT u.id AS job, u.due, u.content, octet_length(u.content) > inline_bytes AS long
        FROM unnest(jobs, contents, dues) AS u (id, content, due)
    ), from_ready AS (
        DELETE FROM headcount.ready WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
                  options, enqueued_at, ready_at, meta, extra
    ), from_later AS (
        DELETE FROM headcount.later WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
                  options, enqueued_at, ready_at, meta, extra
    ), from_held AS (
        DELETE FROM headcount.held WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
                  options, enqueued_at, ready_at, meta, extra, reason, key
    ), changed AS MATERIALIZED (
        SELECT t.*, w.due, CASE WHEN NOT w.long THEN w.content::json END AS payload,
               CASE WHEN t.place = 'held' THEN 'held' WHEN w.due <= at THEN 'ready' ELSE 'later' END AS goes
        FROM (
            SELECT *, NULL::text AS reason, NULL::text AS key, 'ready' AS place FROM from_ready
            UNION ALL
            SELECT *, NULL, NULL, 'later' FROM from_later
            UNION ALL
            SELECT *, 'held' FROM from_held
        ) t
        JOIN wanted w ON w.job = t.id
    ), ready AS (
        -- One that was there keeps its place.
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT id, queue, priority, CASE WHEN place = 'ready' THEN seq ELSE nextval('headcount.place') END, kind,
               payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms, options, enqueued_at, due,
               CASE WHEN place = 'ready' THEN ready_at ELSE at END, meta, extra
        FROM (SELECT * FROM changed WHERE goes = 'ready' ORDER BY due, id) c
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, due_at
        )
        SELECT id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
               max_run_ms, options, enqueued_at, due, ready_at, meta, extra, due
        FROM changed
        WHERE goes = 'later'
    ), held AS (
        INSERT INTO headcount.held (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason, key
        )
        SELECT id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
               max_run_ms, options, enqueued_at, due, ready_at, meta, extra, reason, key
        FROM changed
        WHERE goes = 'held'
    ), body AS (
        INSERT INTO headcount.body (job_id, part, content)
        SELECT w.job, 0, w.content::json::text FROM wanted w JOIN changed c ON c.id = w.job WHERE w.long
    )
    INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled)
    SELECT queue, priority, kind,
           count(*) FILTER (WHERE goes = 'ready') - count(*) FILTER (WHERE goes = 'later'),
           count(*) FILTER (WHERE goes = 'later') - count(*) FILTER (WHERE goes = 'ready')
    FROM changed
    WHERE goes <> place
    GROUP BY queue, priority, kind;
END
$$;

-- Takes the keys of a bulk or meets the jobs that hold them, once for each key. Of the jobs (`ids` and what stands
-- beside them) a key names by their places: its first, the last that replaces, and the first that is not content with a
-- holder that has started. Returns for each key what it met (new, waits, runs, stale), who holds it, and who does the
-- work.
-- `patience`: how long to wait for others in what has to be tried again, which comes out of order; NULL: for good.
-- Locks, so that bulks never deadlock: keys in the order of queue and key; the jobs that hold them, in ready, later and
-- held, by id; the jobs that wait for keys in the order of these.
CREATE FUNCTION headcount.meet_keys(
    ids bigint[], priorities smallint[], kinds text[], payloads text[], attempts smallint[], timeouts bigint[],
    max_runs bigint[], optionals text[], metas text[], delays bigint[], run_ats timestamptz[], scopes text[],
    g_queues text[], g_keys text[], g_firsts integer[], g_replace integer[], g_agains integer[], inline_bytes integer,
    patience text, OUT fates text[], OUT holders bigint[], OUT doers bigint[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    size     CONSTANT integer := cardinality(g_keys);
    no_waits CONSTANT text := current_setting('lock_timeout');
    g_ids    bigint[] := array_fill(NULL::bigint, ARRAY[size]); -- of the first job with it, and its scope
    g_scopes text[] := array_fill(NULL::text, ARRAY[size]);
    rounds   integer := 0;
    locked   bigint[];
    before   text[];
    places   text[];
    r_jobs   bigint[]; -- what is replaced
    r_texts  text[];
    r_dues   timestamptz[];
    a_keys   integer[]; -- what is to run again, by the places of the keys
    a_jobs   bigint[];
    met      integer[]; -- of these, where one waits for the key already; and where that was found
    standing integer[];
    at       timestamptz;
    g        integer;
BEGIN
    fates := g_scopes;
    holders := g_ids;
    doers := g_ids;
    FOR g IN 1..size LOOP
        g_ids[g] := ids[g_firsts[g]];
        g_scopes[g] := scopes[g_firsts[g]];
    END LOOP;
    LOOP
        rounds := rounds + 1;
        IF rounds > 100 THEN
            g := array_position(fates, NULL);
            RAISE EXCEPTION 'the coalesce key % of queue % changes hands too fast', g_keys[g], g_queues[g]
                USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
        ELSIF rounds = 2 AND patience IS NOT NULL THEN
            PERFORM set_config('lock_timeout', patience, true);
        END IF;
        before := fates;

        -- A key is taken by INSERT … ON CONFLICT DO NOTHING, never DO UPDATE: that would lock the key until the
        -- application commits, and stop the worker that finishes its job.
        INSERT INTO headcount.coalesce (queue, key, job_id, scope)
        SELECT u.queue, u.key, u.id, u.scope
        FROM unnest(g_queues, g_keys, g_ids, g_scopes, fates) AS u (queue, key, id, scope, fate)
        WHERE u.fate IS NULL
        ON CONFLICT DO NOTHING;

        -- Who holds it and where that stands are one view: what moves a job moves its key with it.
        SELECT array_agg(m.fate ORDER BY m.g), array_agg(m.holder ORDER BY m.g), array_agg(m.place ORDER BY m.g)
        INTO fates, holders, places
        FROM (
            SELECT u.g, coalesce(h.job_id, u.holder) AS holder, s.place,
                   CASE
                       WHEN u.fate IS NOT NULL THEN u.fate
                       WHEN h.job_id = u.id THEN 'new'
                       WHEN h.job_id IS NULL THEN NULL
                       -- Of the release before, which lets go of no key. The job waits until maintenance does: to drop
                       -- it would be to lose it.
                       WHEN NOT headcount.may_hold(s.place, h.scope) THEN 'stale'
                       WHEN s.place NOT IN ('ready', 'later', 'held') THEN 'runs'
                       WHEN u.again IS NULL THEN 'waits'
                   END AS fate
            FROM unnest(g_queues, g_keys, g_ids, g_agains, fates, holders) WITH ORDINALITY
                AS u (queue, key, id, again, fate, holder, g)
            LEFT JOIN LATERAL (
                SELECT c.job_id, c.scope FROM headcount.coalesce c
                WHERE u.fate IS NULL AND c.queue = u.queue AND c.key = u.key
                LIMIT 1
            ) h ON true
            LEFT JOIN LATERAL (
                -- Probes of an index each, and no EXISTS: that may be made a hash of the whole table.
                SELECT CASE
                    WHEN (SELECT j.id FROM headcount.ready j WHERE j.id = h.job_id) IS NOT NULL THEN 'ready'
                    WHEN (SELECT j.id FROM headcount.running j WHERE j.id = h.job_id) IS NOT NULL THEN 'running'
                    WHEN (SELECT j.id FROM headcount.later j WHERE j.id = h.job_id) IS NOT NULL THEN 'later'
                    WHEN (SELECT j.id FROM headcount.held j WHERE j.id = h.job_id) IS NOT NULL THEN 'held'
                    WHEN (SELECT j.id FROM headcount.parked j WHERE j.id = h.job_id) IS NOT NULL THEN 'parked'
                    ELSE (SELECT j.state FROM headcount.finished j WHERE j.id = h.job_id)
                END AS place
                WHERE h.job_id <> u.id
                LIMIT 1
            ) s ON true
        ) m;

        IF array_position(fates, NULL) IS NOT NULL THEN
            -- One that waits does not start before this transaction ends.
            locked := ARRAY(
                SELECT j.id FROM headcount.ready j
                WHERE j.id = ANY (ARRAY(
                    SELECT u.holder FROM unnest(fates, holders, places) AS u (fate, holder, place)
                    WHERE u.fate IS NULL AND u.place = 'ready'
                ))
                ORDER BY j.id
                FOR UPDATE
            ) || ARRAY(
                SELECT j.id FROM headcount.later j
                WHERE j.id = ANY (ARRAY(
                    SELECT u.holder FROM unnest(fates, holders, places) AS u (fate, holder, place)
                    WHERE u.fate IS NULL AND u.place = 'later'
                ))
                ORDER BY j.id
                FOR UPDATE
            ) || ARRAY(
                SELECT j.id FROM headcount.held j
                WHERE j.id = ANY (ARRAY(
                    SELECT u.holder FROM unnest(fates, holders, places) AS u (fate, holder, place)
                    WHERE u.fate IS NULL AND u.place = 'held'
                ))
                ORDER BY j.id
                FOR UPDATE
            );
            IF cardinality(locked) > 0 THEN
                at := clock_timestamp();
                -- It may have started and come back before it was locked, without its key.
                SELECT array_agg(m.fate ORDER BY m.g) INTO fates
                FROM (
                    SELECT u.g, CASE
                               WHEN u.fate IS NOT NULL THEN u.fate
                               WHEN l.id IS NOT NULL AND u.holder = (
                                   SELECT c.job_id FROM headcount.coalesce c WHERE c.queue = u.queue AND c.key = u.key
                               ) THEN 'waits'
                           END AS fate
                    FROM unnest(g_queues, g_keys, fates, holders) WITH ORDINALITY AS u (queue, key, fate, holder, g)
                    LEFT JOIN unnest(locked) AS l (id) ON l.id = u.holder
                ) m;
                SELECT array_agg(u.holder), array_agg(j.payload),
                       array_agg(coalesce(j.run_at, at + coalesce(j.delay_ms, 0) * interval '1 ms'))
                INTO r_jobs, r_texts, r_dues
                FROM unnest(before, fates, holders, g_replace) AS u (before, fate, holder, replace)
                JOIN unnest(payloads, run_ats, delays) WITH ORDINALITY AS j (payload, run_at, delay_ms, n)
                    ON j.n = u.replace
                WHERE u.before IS NULL AND u.fate = 'waits';
                IF r_jobs IS NOT NULL THEN
                    PERFORM headcount.replace_all(r_jobs, r_texts, r_dues, inline_bytes);
                END IF;
            END IF;
        END IF;

        IF 'stale' = ANY (fates) OR 'runs' = ANY (fates) THEN
            -- What waits for a key is inserted under it, never a flag of the holder's row: the worker has that.
            at := clock_timestamp();
            WITH wanted AS MATERIALIZED (
                SELECT u.g, u.queue, u.key, j.id, j.scope, j.priority, j.kind, j.attempts, j.timeout_ms, j.max_run_ms,
                       j.options::json AS options, j.meta::json AS meta, s.payload,
                       octet_length(s.payload) > inline_bytes AS long,
                       coalesce(s.run_at, at + coalesce(s.delay_ms, 0) * interval '1 ms') AS run_at
                FROM unnest(g_queues, g_keys, g_firsts, g_agains, g_replace, before, fates) WITH ORDINALITY
                    AS u (queue, key, first, again, replace, before, fate, g)
                JOIN unnest(ids, priorities, kinds, attempts, timeouts, max_runs, optionals, metas, scopes)
                    WITH ORDINALITY AS j (id, priority, kind, attempts, timeout_ms, max_run_ms, options, meta, scope, n)
                    ON j.n = coalesce(u.again, u.first)
                JOIN unnest(payloads, run_ats, delays) WITH ORDINALITY AS s (payload, run_at, delay_ms, n)
                    ON s.n = coalesce(u.replace, u.again, u.first)
                WHERE u.before IS NULL AND (u.fate = 'stale' OR (u.fate = 'runs' AND u.again IS NOT NULL))
            ), held AS (
                INSERT INTO headcount.held (
                    id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
                    max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason, key
                )
                SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, attempts, 0, 0,
                       timeout_ms, max_run_ms, options, at, run_at, at, meta,
                       json_build_object('key', key, 'scope', scope), 'again', key
                FROM (SELECT * FROM wanted ORDER BY g) w
                ON CONFLICT (queue, key) WHERE reason = 'again' DO NOTHING
                RETURNING id, queue, priority, kind
            ), body AS (
                INSERT INTO headcount.body (job_id, part, content)
                SELECT w.id, 0, w.payload::json::text FROM wanted w JOIN held h ON h.id = w.id WHERE w.long
            ), counted AS (
                INSERT INTO headcount.tally (queue, priority, kind, held, arrived)
                SELECT queue, priority, kind, count(*), count(*) FROM held GROUP BY queue, priority, kind
            )
            SELECT array_agg(w.g::integer ORDER BY w.g), array_agg(h.id ORDER BY w.g),
                   array_agg(w.g::integer ORDER BY w.g) FILTER (WHERE h.id IS NULL)
            INTO a_keys, a_jobs, met
            FROM wanted w
            LEFT JOIN held h ON h.id = w.id;
            FOR n IN 1..coalesce(cardinality(a_keys), 0) LOOP
                doers[a_keys[n]] := a_jobs[n];
            END LOOP;

            IF met IS NOT NULL THEN
                -- One that waits for the key already is enough.
                SELECT array_agg(w.g::integer), array_agg(w.id) INTO standing, a_jobs
                FROM (
                    SELECT u.g, h.id
                    FROM (
                        SELECT k.g, k.queue, k.key
                        FROM unnest(g_queues, g_keys) WITH ORDINALITY AS k (queue, key, g)
                        JOIN unnest(met) AS l (g) ON l.g = k.g
                        ORDER BY k.g
                    ) u
                    CROSS JOIN LATERAL (
                        SELECT h.id FROM headcount.held h
                        WHERE h.queue = u.queue AND h.key = u.key AND h.reason = 'again'
                        FOR UPDATE
                    ) h
                ) w;
                FOR n IN 1..coalesce(cardinality(standing), 0) LOOP
                    doers[standing[n]] := a_jobs[n];
                END LOOP;
                -- Where there is none, the holder has ended meanwhile, and it has the key now.
                FOREACH g IN ARRAY met LOOP
                    IF doers[g] IS NULL THEN
                        fates[g] := NULL;
                    END IF;
                END LOOP;
                SELECT array_agg(u.job), array_agg(j.payload),
                       array_agg(coalesce(j.run_at, at + coalesce(j.delay_ms, 0) * interval '1 ms'))
                INTO r_jobs, r_texts, r_dues
                FROM unnest(standing, a_jobs) AS u (g, job)
                JOIN unnest(g_replace) WITH ORDINALITY AS k (replace, g) ON k.g = u.g
                JOIN unnest(payloads, run_ats, delays) WITH ORDINALITY AS j (payload, run_at, delay_ms, n)
                    ON j.n = k.replace;
                IF r_jobs IS NOT NULL THEN
                    PERFORM headcount.replace_all(r_jobs, r_texts, r_dues, inline_bytes);
                END IF;
            END IF;
        END IF;
        EXIT WHEN array_position(fates, NULL) IS NULL;
    END LOOP;
    IF rounds > 1 AND patience IS NOT NULL THEN
        PERFORM set_config('lock_timeout', no_waits, true);
    END IF;
    FOR n IN 1..size LOOP
        IF fates[n] = 'new' THEN
            doers[n] := g_ids[n];
            holders[n] := NULL;
        ELSIF doers[n] IS NULL THEN
            doers[n] := holders[n];
        END IF;
    END LOOP;
END
$$;

-- Enqueues jobs of every sort, with keys and without, all or none. Each array has an entry for each job; those of keys,
-- scopes and conflicts are NULL for a job without a key. Payloads of more than `inline_bytes` lie in body. `wakes`:
-- whether to tell workers that sleep when the transaction commits.
-- Rows: an answer for each job, in their order: its id, its admission (new, kept, replaced, again) and, where it waits
-- for another, that one's id.
--
-- Jobs with one key are one: they meet the same holder, and what they want together is done to it once.
-- Locks: see meet_keys. What a bulk of several keys has to try again it would take out of order: if it had to wait for
-- somebody there, it lets go of all that it has and begins anew.
CREATE OR REPLACE FUNCTION headcount.enqueue_all(
    queues text[], priorities smallint[], kinds text[], payloads text[], attempts smallint[], timeouts bigint[],
    max_runs bigint[], optionals text[], metas text[], delays bigint[], run_ats timestamptz[], keys text[],
    scopes text[], conflicts text[], inline_bytes integer, wakes boolean
) RETURNS TABLE (id bigint, admission text, holder bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- For the functions that it calls, too. Without nested loops the arrays are hashed: no join is over a table, whose rows
-- are found by an index. One plan serves bulks of every size: to plan for each would take longer than a small one.
SET enable_nestloop = off SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    size      CONSTANT integer := cardinality(queues);
    -- An id for each job, used or not: those that are used ascend.
    ids       bigint[] := ARRAY(SELECT nextval('headcount.place') FROM generate_series(1, size));
    -- What is answered for each job, and what those that are new get that a later one replaced.
    news      boolean[] := array_fill(false, ARRAY[size]);
    doers     bigint[] := ids;
    words     text[] := array_fill('new'::text, ARRAY[size]);
    waits_for bigint[] := array_fill(NULL::bigint, ARRAY[size]);
    contents  text[] := payloads;
    lags      bigint[] := delays;
    times     timestamptz[] := run_ats;
    group_of  integer[]; -- of a job: the place of its key in what follows
    g_queues  text[];    -- the keys of this bulk, each once, in the order of queue and key
    g_keys    text[];
    g_firsts  integer[]; -- the first job with it
    g_replace integer[]; -- the last that replaces
    g_agains  integer[]; -- the first that is not content with a holder that has started
    g_fates   text[];    -- what they met
    g_holders bigint[];
    g_jobs    bigint[];  -- who does the work
    -- Who has set a time limit for locks is not left waiting anyway.
    patience  CONSTANT text := CASE WHEN current_setting('lock_timeout') = '0' THEN '50ms' END;
    tries     integer := 0;
    g         integer;
    n         integer;
    source    integer;
    at        timestamptz;
BEGIN
    IF size = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(k.queue ORDER BY k.g), array_agg(k.key ORDER BY k.g), array_agg(k.first ORDER BY k.g),
           array_agg(k.last_replace ORDER BY k.g), array_agg(k.first_again ORDER BY k.g)
    INTO g_queues, g_keys, g_firsts, g_replace, g_agains
    FROM (
        SELECT u.queue, u.key, min(u.n)::integer AS first,
               (max(u.n) FILTER (WHERE u.conflict = 'replace'))::integer AS last_replace,
               (min(u.n) FILTER (WHERE u.conflict <> 'keep'))::integer AS first_again,
               row_number() OVER (ORDER BY u.queue COLLATE "C", u.key COLLATE "C") AS g
        FROM unnest(queues, keys, conflicts) WITH ORDINALITY AS u (queue, key, conflict, n)
        WHERE u.key IS NOT NULL
        GROUP BY u.queue, u.key
    ) k;
    SELECT array_agg(k.g ORDER BY k.n) INTO group_of
    FROM (
        SELECT u.n, CASE WHEN u.key IS NOT NULL THEN (dense_rank() OVER (
                   PARTITION BY u.key IS NULL ORDER BY u.queue COLLATE "C", u.key COLLATE "C"
               ))::integer END AS g
        FROM unnest(queues, keys) WITH ORDINALITY AS u (queue, key, n)
    ) k;

    IF cardinality(g_keys) = 1 THEN
        SELECT m.fates, m.holders, m.doers INTO g_fates, g_holders, g_jobs
        FROM headcount.meet_keys(
            ids, priorities, kinds, payloads, attempts, timeouts, max_runs, optionals, metas, delays, run_ats, scopes,
            g_queues, g_keys, g_firsts, g_replace, g_agains, inline_bytes, NULL
        ) m;
    ELSIF cardinality(g_keys) > 1 THEN
        LOOP
            tries := tries + 1;
            BEGIN
                SELECT m.fates, m.holders, m.doers INTO g_fates, g_holders, g_jobs
                FROM headcount.meet_keys(
                    ids, priorities, kinds, payloads, attempts, timeouts, max_runs, optionals, metas, delays, run_ats,
                    scopes, g_queues, g_keys, g_firsts, g_replace, g_agains, inline_bytes, patience
                ) m;
                EXIT;
            EXCEPTION WHEN lock_not_available THEN
                IF patience IS NULL OR tries >= 100 THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
    END IF;
    FOR g IN 1..coalesce(cardinality(g_keys), 0) LOOP
        IF g_fates[g] = 'new' THEN
            n := g_firsts[g];
            source := g_replace[g];
            news[n] := true;
            IF source IS NOT NULL THEN
                contents[n] := payloads[source];
                lags[n] := delays[source];
                times[n] := run_ats[source];
            END IF;
        END IF;
    END LOOP;

    -- Of the jobs with one key the first has met the holder; the others meet what it made.
    FOR n IN 1..size LOOP
        g := group_of[n];
        IF g IS NULL THEN
            news[n] := true;
        ELSIF NOT news[n] THEN
            doers[n] := g_jobs[g];
            words[n] := 'kept';
            IF g_fates[g] = 'stale' OR (g_fates[g] = 'runs' AND conflicts[n] <> 'keep') THEN
                words[n] := 'again';
                waits_for[n] := g_holders[g];
            ELSIF g_fates[g] = 'runs' THEN
                -- Who is content with the holder hears of it, whatever waits for it.
                doers[n] := g_holders[g];
            ELSIF conflicts[n] = 'replace' THEN
                words[n] := 'replaced';
            END IF;
        END IF;
    END LOOP;

    at := clock_timestamp();
    WITH new AS MATERIALIZED (
        SELECT u.id, u.queue, u.priority, u.kind, u.attempts, u.timeout_ms, u.max_run_ms, u.options::json AS options,
               u.meta::json AS meta, u.payload, octet_length(u.payload) > inline_bytes AS long,
               coalesce(u.run_at, at + coalesce(u.delay_ms, 0) * interval '1 ms') AS run_at,
               CASE WHEN u.key IS NOT NULL THEN json_build_object('key', u.key, 'scope', u.scope) END AS extra
        FROM unnest(ids, queues, priorities, kinds, attempts, timeouts, max_runs, optionals, metas, keys, scopes,
                    contents, lags, times, news)
            AS u (id, queue, priority, kind, attempts, timeout_ms, max_run_ms, options, meta, key, scope, payload,
                  delay_ms, run_at, is_new)
        WHERE u.is_new
    ), ready AS (
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, attempts, 0, 0,
               timeout_ms, max_run_ms, options, at, run_at, at, meta, extra
        FROM new
        WHERE run_at <= at
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, meta, extra, due_at
        )
        SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, attempts, 0, 0,
               timeout_ms, max_run_ms, options, at, run_at, meta, extra, run_at
        FROM new
        WHERE run_at > at
    ), body AS (
        INSERT INTO headcount.body (job_id, part, content)
        SELECT id, 0, payload::json::text FROM new WHERE long
    )
    INSERT INTO headcount.tally (queue, priority, kind, ready, arrived, scheduled, deferred)
    SELECT queue, priority, kind,
           nullif(count(*) FILTER (WHERE run_at <= at), 0), nullif(count(*) FILTER (WHERE run_at <= at), 0),
           nullif(count(*) FILTER (WHERE run_at > at), 0), nullif(count(*) FILTER (WHERE run_at > at), 0)
    FROM new
    GROUP BY queue, priority, kind;

    IF wakes THEN
        PERFORM headcount.wake(ARRAY(
            SELECT DISTINCT u.queue FROM unnest(queues, delays) AS u (queue, delay_ms) WHERE u.delay_ms IS NULL
        ));
    END IF;

    RETURN QUERY
    SELECT u.id, u.admission, u.holder
    FROM unnest(doers, words, waits_for) WITH ORDINALITY AS u (id, admission, holder, n)
    ORDER BY u.n;
END
$$;

-- Whoever may use them is told so by name.
REVOKE ALL ON FUNCTION
    headcount.replace_all(bigint[], text[], timestamptz[], integer),
    headcount.meet_keys(
        bigint[], smallint[], text[], text[], smallint[], bigint[], bigint[], text[], text[], bigint[], timestamptz[],
        text[], text[], text[], integer[], integer[], integer[], integer, text
    )
FROM PUBLIC;
