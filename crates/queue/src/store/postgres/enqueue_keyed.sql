-- Enqueues jobs of every sort, some of which have keys.
-- $1 queue[]  $2 priority[]  $3 kind[]  $4 payload[]  $5 max_attempts[]  $6 timeout_ms[]  $7 max_run_ms[]
-- $8 options[]  $9 meta[]  $10 delay_ms[]  $11 run_at[]  $12 key[]  $13 scope[]  $14 conflict[]: a job each;
-- $15: payloads of more bytes lie in body  $16 whether to tell sleeping workers at the commit.
-- Rows: id, admission and holder of each job, in their order.
-- Locks: keys in the order of queue and key, the jobs that hold them by id. Index: coalesce's primary key, held_again.
SELECT e.id, e.admission, e.holder
FROM headcount.enqueue_all(
    $1::text[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::text[],
    $9::text[], $10::bigint[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::integer, $16::boolean
) e
