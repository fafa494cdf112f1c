-- The part of claim.sql that leaves kinds to others, in its walk over a lane. Not a part of every claim: the walk is the
-- hot path, and nearly all claims leave nothing.
-- $spared kind[]: the parameter behind the statement's others.
-- Rows: without jobs of these kinds, but for those that have waited for half of the time in which their queue's jobs are to
-- start. Locks: none; what is passed over is not locked. Index: queue's primary key, once a lane. What is passed over is
-- walked over each time; it is bounded by the slots of those to whom it is left, but for what came in since the last beat
-- (30 ms for 100 000).
              AND (r.kind <> ALL ($spared::text[])
                   OR r.ready_at <= (SELECT c.at FROM clock c) - coalesce(
                       (SELECT q.start_within_ms FROM headcount.queue q WHERE q.queue = l.queue), 60000
                   ) * interval '0.5 ms')
