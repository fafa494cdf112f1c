-- The beginning of a claim that also settles attempts that completed without an output and are not kept; claim.sql
-- follows. One round trip and one durable commit for both.
-- $1 boot  $9 id[] (ascending, each once)  $11 claim[]  $12 ran_ms[]
-- Rows: none of its own. A token that no longer holds is passed over.
-- Locks: running, by id; the keys of what ended. Index: running's primary key; the claim of an id is found by binary
-- search (width_bucket), not by a join with unnest, whose plan on wrong estimates takes seconds.
WITH ended AS (
    DELETE FROM headcount.running
    -- In the order of the ids, as every statement that takes several: the index is walked in it.
    WHERE id = ANY ($9::bigint[])
      -- boot + 0: not by the index of tokens, where all that this worker ever claimed lies dead under an old snapshot.
      AND boot + 0 = $1 AND claim = ($11::bigint[])[width_bucket(id, $9::bigint[])]
    RETURNING id, queue, priority, kind, extra, payload IS NULL AS long,
              -- A fresh seq: it was promoted, or retried by hand, which sets the counts back.
              attempt > 0 OR interruptions > 0 OR seq <> id AS tried
), bodies AS (
    DELETE FROM headcount.body WHERE job_id = ANY (ARRAY(SELECT id FROM ended WHERE long))
), attempts AS (
    DELETE FROM headcount.attempt WHERE job_id = ANY (ARRAY(SELECT id FROM ended WHERE tried))
), counted_ends AS (
    INSERT INTO headcount.tally (queue, priority, kind, running, done, run_ms)
    SELECT queue, priority, kind, -count(*), count(*),
           nullif(sum(($12::bigint[])[width_bucket(id, $9::bigint[])]), 0)
    FROM ended
    GROUP BY queue, priority, kind
), keys AS MATERIALIZED (
    -- Jobs without a key pay nothing.
    SELECT headcount.let_go(array_agg(id), array_agg(queue), array_agg(extra ->> 'key'))
    FROM ended WHERE extra IS NOT NULL HAVING count(*) > 0
), first AS MATERIALIZED (
    SELECT concat(count(*), (SELECT count(*) FROM keys)) FROM ended
),
