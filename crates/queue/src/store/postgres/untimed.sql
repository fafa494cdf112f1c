-- Takes the time limits of statements off a session that is our own: one that has our settings. Behind a pooler it has
-- not, and what is set there stays for others. Rows: one, or none. Locks: none.
SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)
WHERE current_setting('plan_cache_mode') = 'force_generic_plan' AND current_setting('enable_seqscan') = 'off'
