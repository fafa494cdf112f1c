-- The part of lanes.sql that leaves kinds to others.
-- ?3: the kinds, a JSON list. ?4: now. Rows: without jobs of these kinds, but for those that have waited for half of the
-- time in which their queue's jobs are to start. Index: queue's primary key, once a job that is passed over; how many those
-- are is bounded by the slots of those to whom they are left.
            AND (r.kind NOT IN (SELECT value FROM json_each(?3))
                OR r.ready_at + coalesce((SELECT q.start_within_ms FROM queue q WHERE q.name = r.queue), 60000) * 500
                    <= ?4)
