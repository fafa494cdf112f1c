-- Writes a decision into the ledger.
-- ?1 id, ?2 pool, ?3 weight, ?4 gist, ?5 detail, ?6 now. Rows: none. Index: the primary key.
INSERT INTO decision (id, pool, weight, gist, detail, first_at, last_at, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 1)
