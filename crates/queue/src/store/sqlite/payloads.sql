-- Payloads that lie apart from their jobs.
-- ?1: JSON, the ids. Rows: job, data. Index: the primary key, once an id.
SELECT job, data FROM body WHERE job IN (SELECT value FROM json_each(?1)) AND part = 'payload'
