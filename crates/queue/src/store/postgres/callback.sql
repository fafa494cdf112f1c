-- Notes the digest of the secret by which an attempt's job may be resolved. Another digest than before drops an answer
-- to that one.
-- $1 id  $2 boot  $3 claim  $4 digest. Rows: id, if the token holds.
-- Locks: the row. Index: running's primary key; not that of tokens, where all that the worker ever claimed lies dead
-- under an old snapshot.
UPDATE headcount.running
SET digest = $4, answer = CASE WHEN digest = $4 THEN answer END
WHERE id = $1 AND boot + 0 = $2 AND claim + 0 = $3
RETURNING id
