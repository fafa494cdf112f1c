-- Coalescing, and SQL from any language.
--
-- What one statement cannot do lies in functions: each statement of theirs sees what was committed before it began, so
-- that a key that is taken and its holder that is read are one round trip and one transaction. Functions that a worker
-- runs wait for no application's transaction: applications only insert keys, and rows of held are taken SKIP LOCKED.
--
-- The planner's settings stand on those that join arrays: they run on an application's connection too. The search path
-- stands on those that are called from outside; those that only they call have it from them, for it costs 10 µs a call.

-- Wakes the workers of these queues, if they sleep: tells each queue at most once, when the transaction commits.
CREATE FUNCTION headcount.wake(queues text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A commit that notifies takes a lock of the whole server: only who must does so.
    IF EXISTS (SELECT FROM headcount.queue s WHERE s.asleep) THEN
        PERFORM pg_notify('headcount.wake', q.queue)
        FROM (SELECT DISTINCT u.queue FROM unnest(queues) AS u (queue)) q
        WHERE EXISTS (
            SELECT FROM headcount.queue s
            WHERE s.asleep
              AND (s.queue = q.queue
                   -- Private queues are meant only by an entry that begins so itself.
                   OR (right(s.queue, 1) = '*' AND starts_with(q.queue, left(s.queue, -1))
                       AND (starts_with(s.queue, 'run:') OR NOT starts_with(q.queue, 'run:'))))
        );
    END IF;
END
$$;

-- Where a job stands, in one view: ready, later, held, running, completed, failed, cancelled; NULL: nowhere.
CREATE FUNCTION headcount.stands(job bigint) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT CASE
            WHEN EXISTS (SELECT FROM headcount.ready j WHERE j.id = job) THEN 'ready'
            WHEN EXISTS (SELECT FROM headcount.running j WHERE j.id = job) THEN 'running'
            WHEN EXISTS (SELECT FROM headcount.later j WHERE j.id = job) THEN 'later'
            WHEN EXISTS (SELECT FROM headcount.held j WHERE j.id = job) THEN 'held'
            ELSE (SELECT j.state FROM headcount.finished j WHERE j.id = job)
        END
    );
END
$$;

-- Whether a job that stands there may hold a key of this scope.
CREATE FUNCTION headcount.may_hold(place text, scope text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(place IN ('ready', 'later', 'held') OR (place = 'running' AND scope <> 'pending')
                    OR (place = 'failed' AND scope = 'unfinished-or-failed'), false)
$$;

-- Locks a job where it waits, so that it does not start before this transaction ends. Returns whether it is still there.
CREATE FUNCTION headcount.lock_waiting(job bigint, place text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    CASE place
        WHEN 'ready' THEN PERFORM FROM headcount.ready j WHERE j.id = job FOR UPDATE;
        WHEN 'later' THEN PERFORM FROM headcount.later j WHERE j.id = job FOR UPDATE;
        ELSE PERFORM FROM headcount.held j WHERE j.id = job FOR UPDATE;
    END CASE;
    RETURN FOUND;
END
$$;

-- Gives a job that is locked where it waits another payload and run time; it moves if that is the other side of now.
CREATE FUNCTION headcount.replace_waiting(job bigint, place text, content text, due timestamptz, inline_bytes integer)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    at    CONSTANT timestamptz := clock_timestamp();
    short CONSTANT json := CASE WHEN octet_length(content) <= inline_bytes THEN content::json END;
BEGIN
    DELETE FROM headcount.body b WHERE b.job_id = job AND b.part = 0;
    IF short IS NULL THEN
        INSERT INTO headcount.body (job_id, part, content) VALUES (job, 0, content::json::text);
    END IF;
    IF place = 'held' THEN
        UPDATE headcount.held SET payload = short, payload_codec = NULL, run_at = due WHERE id = job;
    ELSIF place = 'ready' AND due <= at THEN
        -- It keeps its place.
        UPDATE headcount.ready SET payload = short, payload_codec = NULL, run_at = due WHERE id = job;
    ELSIF place = 'later' AND due > at THEN
        UPDATE headcount.later SET payload = short, payload_codec = NULL, run_at = due, due_at = due, note = NULL
        WHERE id = job;
    ELSIF place = 'ready' THEN
        WITH taken AS (
            DELETE FROM headcount.ready WHERE id = job
            RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms,
                      max_run_ms, options, enqueued_at, ready_at, meta, extra
        ), later AS (
            INSERT INTO headcount.later (
                id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
                max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, due_at
            )
            SELECT id, queue, priority, seq, kind, short, attempt, max_attempts, interruptions, deaths, timeout_ms,
                   max_run_ms, options, enqueued_at, due, ready_at, meta, extra, due
            FROM taken
        )
        INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled)
        SELECT queue, priority, kind, -1, 1 FROM taken;
    ELSE
        WITH taken AS (
            DELETE FROM headcount.later WHERE id = job
            RETURNING id, queue, priority, kind, attempt, max_attempts, interruptions, deaths, timeout_ms,
                      max_run_ms, options, enqueued_at, meta, extra
        ), ready AS (
            INSERT INTO headcount.ready (
                id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
                max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
            )
            SELECT id, queue, priority, nextval('headcount.place'), kind, short, attempt, max_attempts, interruptions,
                   deaths, timeout_ms, max_run_ms, options, enqueued_at, due, at, meta, extra
            FROM taken
        )
        INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled)
        SELECT queue, priority, kind, 1, -1 FROM taken;
    END IF;
END
$$;

-- Moves the job that waits for this key out of held, unless somebody has it locked: to the end of its lane, or to where
-- it waits for its run time. Returns its id, its scope and whether it may be claimed; its id is NULL if there is none.
CREATE FUNCTION headcount.free_again(of_queue text, of_key text, OUT job bigint, OUT scope text, OUT claimable boolean)
LANGUAGE plpgsql AS $$
BEGIN
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS at
    ), taken AS (
        DELETE FROM headcount.held
        WHERE id = (
            SELECT h.id FROM headcount.held h
            WHERE h.queue = of_queue AND h.key = of_key AND h.reason = 'again'
            FOR UPDATE SKIP LOCKED
        )
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, meta, extra
    ), ready AS (
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT id, queue, priority, nextval('headcount.place'), kind, payload, payload_codec, attempt, max_attempts,
               interruptions, deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, c.at, meta, extra
        FROM taken CROSS JOIN clock c
        WHERE run_at <= c.at
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, meta, extra, due_at
        )
        SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
               timeout_ms, max_run_ms, options, enqueued_at, run_at, meta, extra, run_at
        FROM taken CROSS JOIN clock c
        WHERE run_at > c.at
    ), counted AS (
        INSERT INTO headcount.tally (queue, priority, kind, held, ready, scheduled)
        SELECT queue, priority, kind, -1, CASE WHEN run_at <= c.at THEN 1 END, CASE WHEN run_at > c.at THEN 1 END
        FROM taken CROSS JOIN clock c
    )
    SELECT t.id, coalesce(t.extra ->> 'scope', 'unfinished'), t.run_at <= c.at INTO job, scope, claimable
    FROM taken t CROSS JOIN clock c;
END
$$;

-- Jobs that end or go let go of their keys: to the job that waits for it, if one is seen, or altogether. An entry whose
-- job does not hold its key changes nothing. Returns how many jobs became claimable.
-- Locks: coalesce, by queue and key; held, SKIP LOCKED.
CREATE FUNCTION headcount.let_go(jobs bigint[], queues text[], keys text[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held  record;
    next  record;
    freed bigint := 0;
BEGIN
    FOR held IN
        SELECT u.job, u.queue, u.key FROM unnest(jobs, queues, keys) AS u (job, queue, key)
        ORDER BY u.queue COLLATE "C", u.key COLLATE "C"
    LOOP
        PERFORM FROM headcount.coalesce c
        WHERE c.queue = held.queue AND c.key = held.key AND c.job_id = held.job
        FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        SELECT * INTO next FROM headcount.free_again(held.queue, held.key);
        IF next.job IS NULL THEN
            DELETE FROM headcount.coalesce c WHERE c.queue = held.queue AND c.key = held.key;
        ELSE
            UPDATE headcount.coalesce c SET job_id = next.job, scope = next.scope
            WHERE c.queue = held.queue AND c.key = held.key;
            freed := freed + next.claimable::integer;
        END IF;
    END LOOP;
    RETURN freed;
END
$$;

-- Frees up to `most` jobs that wait for a key that nobody holds: those that were not yet committed when its holder
-- ended. Returns how many became claimable.
-- Waits for a key that an application is just taking for a moment only, and tries it again at the next pass.
CREATE FUNCTION headcount.release_again(most bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    waits   record;
    next    record;
    freed   bigint := 0;
    blocked integer := 0;
BEGIN
    FOR waits IN
        SELECT h.id, h.queue, h.key FROM headcount.held h
        WHERE h.reason = 'again'
          AND NOT EXISTS (SELECT FROM headcount.coalesce c WHERE c.queue = h.queue AND c.key = h.key)
        ORDER BY h.queue, h.key
        LIMIT most
    LOOP
        BEGIN
            PERFORM FROM headcount.held h WHERE h.id = waits.id AND h.reason = 'again' FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            INSERT INTO headcount.coalesce (queue, key, job_id, scope)
            SELECT h.queue, h.key, h.id, coalesce(h.extra ->> 'scope', 'unfinished')
            FROM headcount.held h WHERE h.id = waits.id
            ON CONFLICT DO NOTHING;
            CONTINUE WHEN NOT FOUND;
            SELECT * INTO next FROM headcount.free_again(waits.queue, waits.key);
            freed := freed + coalesce(next.claimable, false)::integer;
        EXCEPTION WHEN lock_not_available THEN
            blocked := blocked + 1;
        END;
        EXIT WHEN blocked >= 10;
    END LOOP;
    RETURN freed;
END
$$;

-- Lets go of keys whose job is in no state that may hold it: it was ended by the release before this one, or by hand.
-- Looks at `most` keys after the one given; NULLs: from the first. Returns how many jobs became claimable, and the last
-- key that was looked at, NULL at the end.
CREATE FUNCTION headcount.release_keys(
    most bigint, after_queue text, after_key text, OUT freed bigint, OUT last_queue text, OUT last_key text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    seen  bigint := 0;
    stale record;
BEGIN
    freed := 0;
    FOR stale IN
        SELECT c.queue, c.key, c.job_id, c.scope FROM headcount.coalesce c
        WHERE (c.queue, c.key) > (coalesce(after_queue, ''), coalesce(after_key, ''))
        ORDER BY c.queue, c.key
        LIMIT most
    LOOP
        seen := seen + 1;
        last_queue := stale.queue;
        last_key := stale.key;
        CONTINUE WHEN headcount.may_hold(headcount.stands(stale.job_id), stale.scope);
        -- Under a lock: what moves a job and its key does both or neither.
        PERFORM FROM headcount.coalesce c
        WHERE c.queue = stale.queue AND c.key = stale.key AND c.job_id = stale.job_id
        FOR UPDATE SKIP LOCKED;
        IF FOUND AND NOT headcount.may_hold(headcount.stands(stale.job_id), stale.scope) THEN
            freed := freed + headcount.let_go(ARRAY[stale.job_id], ARRAY[stale.queue], ARRAY[stale.key]);
        END IF;
    END LOOP;
    IF seen < most THEN
        last_queue := NULL;
        last_key := NULL;
    END IF;
END
$$;

-- Lets a job wait for the holder of its key. Returns its id; NULL: one waits already, or is just leaving.
CREATE FUNCTION headcount.hold_again(
    job bigint, of_queue text, of_key text, of_scope text, of_priority smallint, of_kind text, content text,
    attempts smallint, timeout bigint, max_run bigint, optional text, labels text, due timestamptz, inline_bytes integer
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    at    CONSTANT timestamptz := clock_timestamp();
    short CONSTANT json := CASE WHEN octet_length(content) <= inline_bytes THEN content::json END;
BEGIN
    INSERT INTO headcount.held (
        id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
        options, enqueued_at, run_at, ready_at, meta, extra, reason, key
    )
    VALUES (
        job, of_queue, of_priority, job, of_kind, short, 0, attempts, 0, 0, timeout, max_run, optional::json, at, due, at,
        labels::json, json_build_object('key', of_key, 'scope', of_scope), 'again', of_key
    )
    ON CONFLICT (queue, key) WHERE reason = 'again' DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF short IS NULL THEN
        INSERT INTO headcount.body (job_id, part, content) VALUES (job, 0, content::json::text);
    END IF;
    INSERT INTO headcount.tally (queue, priority, kind, held, arrived) VALUES (of_queue, of_priority, of_kind, 1, 1);
    RETURN job;
END
$$;

-- Enqueues jobs of every sort, with keys and without, all or none. Each array has an entry for each job; those of keys,
-- scopes and conflicts are NULL for a job without a key. Payloads of more than `inline_bytes` lie in body. `wakes`:
-- whether to tell workers that sleep when the transaction commits.
-- Rows: an answer for each job, in their order: its id, its admission (new, kept, replaced, again) and, where it waits
-- for another, that one's id.
--
-- A key is taken by INSERT … ON CONFLICT DO NOTHING, never DO UPDATE: that would lock the key until the application
-- commits, and stop the worker that finishes its job. Who did not get it reads the holder in a later statement; both
-- repeat until one answers.
-- Jobs with one key are one: they meet the same holder, and what they want together is done to it once.
-- Locks, so that bulks never deadlock: keys in the order of queue and key; the jobs that hold them by id; the jobs that
-- wait for keys in the order of these.
CREATE FUNCTION headcount.enqueue_all(
    queues text[], priorities smallint[], kinds text[], payloads text[], attempts smallint[], timeouts bigint[],
    max_runs bigint[], optionals text[], metas text[], delays bigint[], run_ats timestamptz[], keys text[],
    scopes text[], conflicts text[], inline_bytes integer, wakes boolean
) RETURNS TABLE (id bigint, admission text, holder bigint)
LANGUAGE plpgsql SECURITY DEFINER
-- Without nested loops the arrays are hashed: no join here is over a table.
SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off AS $$
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
    g_ids     bigint[];  -- its id and scope
    g_scopes  text[];
    g_replace integer[]; -- the last that replaces
    g_agains  integer[]; -- the first that is not content with a holder that has started
    g_fates   text[];    -- what they met: new, waits, runs, stale; NULL: not known yet
    g_holders bigint[];
    g_jobs    bigint[];  -- who does the work
    unmet     integer[]; -- places whose fate is not known
    met       integer[];
    again     integer[];
    rounds    integer := 0;
    g         integer;
    n         integer;
    source    integer;
    -- SQL is given these and no element of an array: for that the whole array would be copied, each time.
    of_queue  text;
    of_key    text;
    of_scope  text;
    content   text;
    due       timestamptz;
    holding   bigint;
    place     text;
    at        timestamptz;
BEGIN
    IF size = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(k.queue ORDER BY k.g), array_agg(k.key ORDER BY k.g), array_agg(k.first ORDER BY k.g),
           array_agg(k.last_replace ORDER BY k.g), array_agg(k.first_again ORDER BY k.g),
           array_agg(k.g ORDER BY k.g)
    INTO g_queues, g_keys, g_firsts, g_replace, g_agains, unmet
    FROM (
        SELECT u.queue, u.key, min(u.n)::integer AS first,
               (max(u.n) FILTER (WHERE u.conflict = 'replace'))::integer AS last_replace,
               (min(u.n) FILTER (WHERE u.conflict <> 'keep'))::integer AS first_again,
               (row_number() OVER (ORDER BY u.queue COLLATE "C", u.key COLLATE "C"))::integer AS g
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
    unmet := coalesce(unmet, '{}');
    g_fates := array_fill(NULL::text, ARRAY[cardinality(unmet)]);
    g_holders := array_fill(NULL::bigint, ARRAY[cardinality(unmet)]);
    g_jobs := g_holders;
    g_ids := g_holders;
    g_scopes := g_fates;
    FOREACH g IN ARRAY unmet LOOP
        g_ids[g] := ids[g_firsts[g]];
        g_scopes[g] := scopes[g_firsts[g]];
    END LOOP;

    WHILE cardinality(unmet) > 0 LOOP
        rounds := rounds + 1;
        IF rounds > 100 THEN
            RAISE EXCEPTION 'the coalesce key % of queue % changes hands too fast', g_keys[unmet[1]],
                g_queues[unmet[1]]
                USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
        END IF;
        INSERT INTO headcount.coalesce (queue, key, job_id, scope)
        SELECT u.queue, u.key, u.id, u.scope
        FROM unnest(g_queues, g_keys, g_ids, g_scopes, g_fates) AS u (queue, key, id, scope, fate)
        WHERE u.fate IS NULL
        ON CONFLICT DO NOTHING;

        met := '{}';
        again := '{}';
        FOREACH g IN ARRAY unmet LOOP
            of_queue := g_queues[g];
            of_key := g_keys[g];
            SELECT c.job_id INTO holding FROM headcount.coalesce c WHERE c.queue = of_queue AND c.key = of_key;
            IF holding = g_ids[g] THEN
                g_fates[g] := 'new';
                g_jobs[g] := holding;
                n := g_firsts[g];
                source := g_replace[g];
                news[n] := true;
                IF source IS NOT NULL THEN
                    contents[n] := payloads[source];
                    lags[n] := delays[source];
                    times[n] := run_ats[source];
                END IF;
                holding := NULL;
            END IF;
            g_holders[g] := holding;
        END LOOP;

        met := ARRAY(
            SELECT u.g::integer FROM unnest(g_holders, g_fates) WITH ORDINALITY AS u (holder, fate, g)
            WHERE u.fate IS NULL AND u.holder IS NOT NULL
            ORDER BY u.holder
        );
        FOREACH g IN ARRAY met LOOP
            of_queue := g_queues[g];
            of_key := g_keys[g];
            holding := g_holders[g];
            place := headcount.stands(holding);
            SELECT c.scope INTO of_scope FROM headcount.coalesce c
            WHERE c.queue = of_queue AND c.key = of_key AND c.job_id = holding;
            CONTINUE WHEN NOT FOUND;
            g_jobs[g] := holding;
            IF NOT headcount.may_hold(place, of_scope) THEN
                -- It was just ended and the key let go; or the key is stale. That is certain when it is so once more, and
                -- then the job waits until maintenance lets go of the key: to drop it would be to lose it.
                IF rounds > 3 THEN
                    g_fates[g] := 'stale';
                    again := again || g;
                END IF;
            ELSIF place NOT IN ('ready', 'later', 'held') THEN
                g_fates[g] := 'runs';
                IF g_agains[g] IS NOT NULL THEN
                    again := again || g;
                END IF;
            ELSIF g_agains[g] IS NULL THEN
                g_fates[g] := 'waits';
            ELSIF headcount.lock_waiting(holding, place) THEN
                g_fates[g] := 'waits';
                n := g_replace[g];
                IF n IS NOT NULL THEN
                    due := coalesce(run_ats[n], clock_timestamp() + coalesce(delays[n], 0) * interval '1 ms');
                    content := payloads[n];
                    PERFORM headcount.replace_waiting(holding, place, content, due, inline_bytes);
                END IF;
            END IF;
        END LOOP;

        -- What waits for a key is inserted under it, never a flag of the holder's row: the worker has that.
        again := ARRAY(SELECT a.g FROM unnest(again) AS a (g) ORDER BY a.g);
        FOREACH g IN ARRAY again LOOP
            of_queue := g_queues[g];
            of_key := g_keys[g];
            n := coalesce(g_agains[g], g_firsts[g]);
            source := coalesce(g_replace[g], n);
            content := payloads[source];
            at := clock_timestamp();
            due := coalesce(run_ats[source], at + coalesce(delays[source], 0) * interval '1 ms');
            holding := headcount.hold_again(
                ids[n], of_queue, of_key, scopes[n], priorities[n], kinds[n], content, attempts[n], timeouts[n],
                max_runs[n], optionals[n], metas[n], due, inline_bytes
            );
            IF holding IS NULL THEN
                SELECT h.id INTO holding FROM headcount.held h
                WHERE h.queue = of_queue AND h.key = of_key AND h.reason = 'again'
                FOR UPDATE;
                IF NOT FOUND THEN
                    -- The holder ended meanwhile, and it has the key now.
                    g_fates[g] := NULL;
                ELSIF g_replace[g] IS NOT NULL THEN
                    PERFORM headcount.replace_waiting(holding, 'held', content, due, inline_bytes);
                END IF;
            END IF;
            g_jobs[g] := holding;
        END LOOP;
        unmet := ARRAY(
            SELECT u.g::integer FROM unnest(g_fates) WITH ORDINALITY AS u (fate, g) WHERE u.fate IS NULL ORDER BY u.g
        );
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

-- Cancels a job that waits; asks for the end of one that runs. Neither: it moved, or is over, or is nowhere; only another
-- look can tell, since a row that a claim in flight takes matches nothing here.
-- Locks: the job's row; waits for a move in flight; its key.
CREATE FUNCTION headcount.try_cancel(job bigint, OUT done boolean, OUT asked boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
BEGIN
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS at
    ), asked AS (
        UPDATE headcount.running SET cancel_at = coalesce(cancel_at, clock_timestamp()) WHERE id = job RETURNING id
    ), from_ready AS (
        DELETE FROM headcount.ready WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
    ), from_held AS (
        DELETE FROM headcount.held WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
                  NULL::text AS note, CASE WHEN reason = 'suspect' THEN 'suspect' ELSE 'held' END AS place
    ), from_later AS (
        DELETE FROM headcount.later WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
                  note
    ), taken AS (
        SELECT *, NULL::text AS note, 'ready' AS place FROM from_ready
        UNION ALL
        SELECT * FROM from_held
        UNION ALL
        SELECT *, 'later' FROM from_later
    ), finished AS (
        INSERT INTO headcount.finished (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state,
            started_at, finished_at, worker, error
        )
        SELECT t.id, t.queue, t.priority, t.seq, t.kind, t.payload, t.payload_codec, t.attempt, t.max_attempts,
               t.interruptions, t.deaths, t.timeout_ms, t.max_run_ms, t.options, t.enqueued_at, t.run_at, t.ready_at,
               t.meta, t.extra, 'cancelled', a.started_at, c.at, a.worker, coalesce(t.note, a.error)
        FROM taken t
        CROSS JOIN clock c
        LEFT JOIN LATERAL (
            SELECT a.started_at, a.worker, a.error FROM headcount.attempt a
            WHERE a.job_id = t.id ORDER BY a.id DESC LIMIT 1
        ) a ON true
    ), counted AS (
        INSERT INTO headcount.tally (queue, priority, kind, ready, held, suspects, scheduled, cancelled)
        SELECT queue, priority, kind, CASE WHEN place = 'ready' THEN -1 END,
               CASE WHEN place IN ('held', 'suspect') THEN -1 END, CASE WHEN place = 'suspect' THEN -1 END,
               CASE WHEN place = 'later' THEN -1 END, 1
        FROM taken
    ), let_go AS MATERIALIZED (
        SELECT headcount.let_go(array_agg(id), array_agg(queue), array_agg(extra ->> 'key'))
        FROM taken WHERE extra IS NOT NULL HAVING count(*) > 0
    )
    SELECT EXISTS (SELECT FROM taken), EXISTS (SELECT FROM asked) INTO done, asked
    WHERE (SELECT count(*) FROM let_go) >= 0;
END
$$;

-- Enqueues a job inside this transaction, from any language that speaks SQL, or from a trigger. Returns its id, or that
-- of the job with which it coalesced. The limits are those of the library (limits.rs and new_job.rs).
--
--     SELECT headcount.enqueue('thumbnail', '{"image": 7}', queue => 'media', delay => '5 minutes');
CREATE FUNCTION headcount.enqueue(
    kind         text,
    payload      json        DEFAULT '{}',
    queue        text        DEFAULT 'default',
    priority     integer     DEFAULT 0,
    delay        interval    DEFAULT NULL, -- from now, by this server's clock
    run_at       timestamptz DEFAULT NULL, -- not before; a time that has passed means now
    max_attempts integer     DEFAULT 5,
    timeout      interval    DEFAULT NULL,
    max_run_time interval    DEFAULT NULL,
    key          text        DEFAULT NULL,
    scope        text        DEFAULT 'unfinished',
    conflict     text        DEFAULT 'keep',
    meta         json        DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    -- What is white space or a control character in Unicode, and what lists of queues are made with.
    no_name CONSTANT text := '[\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000,*]';
    no_key  CONSTANT text := '[\u0001-\u001f\u007f-\u009f]';
    years   CONSTANT numeric := 10 * 365 * 86400;
    what    text;
    name    text;
    content text;
    seconds numeric;
    job     bigint;
BEGIN
    FOR what, name IN VALUES ('a kind', enqueue.kind), ('a queue', enqueue.queue) LOOP
        IF name IS NULL OR name = '' THEN
            RAISE EXCEPTION '% has no name', what
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name of 1 to 128 bytes.';
        ELSIF octet_length(name) > 128 THEN
            RAISE EXCEPTION 'the name of % has % bytes', what, octet_length(name)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'At most 128 are allowed.';
        ELSIF name COLLATE "C" ~ no_name THEN
            RAISE EXCEPTION 'the name of %, %, holds a character that is not allowed', what, quote_literal(name)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Spaces, control characters, commas and asterisks are not allowed.';
        END IF;
    END LOOP;
    FOR what, content IN VALUES ('the payload', enqueue.payload::text), ('meta', enqueue.meta::text) LOOP
        IF content IS NULL AND what = 'the payload' THEN
            RAISE EXCEPTION 'the payload is NULL'
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'Leave it out, or give the JSON value null: ''null''.';
        ELSIF octet_length(content) > 1048576 THEN
            RAISE EXCEPTION '% has % bytes; at most 1048576 are allowed', what, octet_length(content)
                USING ERRCODE = 'program_limit_exceeded',
                      HINT = 'Keep large data elsewhere and enqueue its address.';
        ELSIF strpos(content, '\u0000') > 0 THEN
            RAISE EXCEPTION '% holds the character U+0000', what
                USING ERRCODE = 'invalid_parameter_value', HINT = 'It cannot be stored: leave it out.';
        END IF;
    END LOOP;
    IF enqueue.priority IS NULL OR enqueue.priority NOT BETWEEN -32768 AND 32767 THEN
        RAISE EXCEPTION 'a priority of %', coalesce(enqueue.priority::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'From -32768 to 32767; higher runs first.';
    END IF;
    IF enqueue.max_attempts IS NULL OR enqueue.max_attempts NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION '% attempts', coalesce(enqueue.max_attempts::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = '1 to 10000 are allowed.';
    END IF;
    IF enqueue.delay IS NOT NULL AND enqueue.run_at IS NOT NULL THEN
        RAISE EXCEPTION 'both a delay and a time to run at'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give delay or run_at.';
    END IF;
    IF enqueue.run_at > '2200-01-01 00:00:00+00' THEN
        RAISE EXCEPTION '% is after the year 2200', enqueue.run_at
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an earlier run_at.';
    END IF;
    FOR what, seconds IN VALUES
        ('a delay', extract(epoch FROM enqueue.delay)), ('a timeout', extract(epoch FROM enqueue.timeout)),
        ('a maximum run time', extract(epoch FROM enqueue.max_run_time))
    LOOP
        IF seconds > years OR seconds < 0 THEN
            RAISE EXCEPTION '% of % s', what, trim_scale(seconds)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'From 0 s to ten years are allowed.';
        ELSIF seconds = 0 AND what <> 'a delay' THEN
            RAISE EXCEPTION '% of 0 s would never let the job run', what
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for none.';
        END IF;
    END LOOP;
    IF enqueue.key IS NOT NULL THEN
        IF octet_length(enqueue.key) NOT BETWEEN 1 AND 512 OR enqueue.key COLLATE "C" ~ no_key THEN
            RAISE EXCEPTION 'the coalesce key % has % bytes', quote_literal(left(enqueue.key, 40)),
                octet_length(enqueue.key)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = '1 to 512 without control characters are allowed.';
        END IF;
        IF enqueue.scope IS NULL OR enqueue.scope NOT IN ('pending', 'unfinished', 'unfinished-or-failed') THEN
            RAISE EXCEPTION 'unknown scope %', quote_nullable(enqueue.scope)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'It is one of pending, unfinished, unfinished-or-failed.';
        END IF;
        IF enqueue.conflict IS NULL OR enqueue.conflict NOT IN ('keep', 'replace', 'run-again') THEN
            RAISE EXCEPTION 'unknown conflict rule %', quote_nullable(enqueue.conflict)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'It is one of keep, replace, run-again.';
        END IF;
    END IF;
    SELECT e.id INTO job
    FROM headcount.enqueue_all(
        ARRAY[enqueue.queue], ARRAY[enqueue.priority::smallint], ARRAY[enqueue.kind], ARRAY[enqueue.payload::text],
        ARRAY[enqueue.max_attempts::smallint],
        -- Whole milliseconds, rounded up.
        ARRAY[ceil(extract(epoch FROM enqueue.timeout) * 1000)::bigint],
        ARRAY[ceil(extract(epoch FROM enqueue.max_run_time) * 1000)::bigint],
        ARRAY[NULL::text], ARRAY[enqueue.meta::text],
        ARRAY[nullif(ceil(extract(epoch FROM enqueue.delay) * 1000)::bigint, 0)],
        ARRAY[CASE WHEN enqueue.run_at IS NOT NULL THEN greatest(enqueue.run_at, '1970-01-01 00:00:00+00') END],
        ARRAY[enqueue.key], ARRAY[CASE WHEN enqueue.key IS NOT NULL THEN enqueue.scope END],
        ARRAY[CASE WHEN enqueue.key IS NOT NULL THEN enqueue.conflict END], 1024, true
    ) e;
    RETURN job;
END
$$;

-- Cancels a job inside this transaction: 'cancelled', or 'asked' of one that runs, whose worker is told at its next beat.
-- A transaction that cancels a running job should commit soon: until then the job's worker cannot end it.
CREATE FUNCTION headcount.cancel(id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tried record;
    state text;
BEGIN
    FOR tries IN 1..100 LOOP
        SELECT * INTO tried FROM headcount.try_cancel(cancel.id);
        IF tried.done THEN
            RETURN 'cancelled';
        ELSIF tried.asked THEN
            RETURN 'asked';
        END IF;
        SELECT j.state INTO state FROM headcount.jobs j WHERE j.id = cancel.id;
        IF state IS NULL THEN
            RAISE EXCEPTION 'no job has the id %', cancel.id
                USING ERRCODE = 'no_data_found', HINT = 'It may have completed, been deleted or expired.';
        ELSIF state IN ('completed', 'failed', 'cancelled') THEN
            RAISE EXCEPTION 'job % is %: it cannot be cancelled', cancel.id, state
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'It is over.';
        END IF;
    END LOOP;
    RAISE EXCEPTION 'job % is moving too fast to catch', cancel.id
        USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
END
$$;

-- Whoever may use them is told so by name.
REVOKE ALL ON FUNCTION
    headcount.wake(text[]),
    headcount.stands(bigint),
    headcount.may_hold(text, text),
    headcount.lock_waiting(bigint, text),
    headcount.replace_waiting(bigint, text, text, timestamptz, integer),
    headcount.free_again(text, text),
    headcount.let_go(bigint[], text[], text[]),
    headcount.hold_again(
        bigint, text, text, text, smallint, text, text, smallint, bigint, bigint, text, text, timestamptz, integer
    ),
    headcount.release_again(bigint),
    headcount.release_keys(bigint, text, text),
    headcount.enqueue_all(
        text[], smallint[], text[], text[], smallint[], bigint[], bigint[], text[], text[], bigint[], timestamptz[],
        text[], text[], text[], integer, boolean
    ),
    headcount.try_cancel(bigint),
    headcount.enqueue(
        text, json, text, integer, interval, timestamptz, integer, interval, interval, text, text, text, json
    ),
    headcount.cancel(bigint)
FROM PUBLIC;
