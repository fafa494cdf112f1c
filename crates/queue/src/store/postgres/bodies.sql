-- Reads long payloads. $1 job id[]. Rows: job_id, content. Locks: none. Index: body's primary key.
SELECT b.job_id, b.content FROM headcount.body b WHERE b.job_id = ANY ($1::bigint[]) AND b.part = 0
