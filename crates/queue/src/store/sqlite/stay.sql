-- Sets a leaving worker back to draining.
-- ?1: the worker. Rows: none. Index: the primary key.
UPDATE worker SET state = 'draining', leaving_until = NULL WHERE boot = ?1 AND state = 'leaving'
