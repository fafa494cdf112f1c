-- As the store's own connections: a plan made while the tables were empty must not walk over the backlog.
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan
