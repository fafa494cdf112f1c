-- Says by what secret a running job may be answered for. Another secret than before drops what came by that one.
-- ?1: the job. ?2, ?3: the token. ?4: the secret's digest. Rows: none. Changes a row only if the token holds.
-- Index: the primary key.
UPDATE running
SET digest = ?4, answer = CASE WHEN digest = ?4 THEN answer END
WHERE id = ?1 AND boot = ?2 AND claim = ?3
