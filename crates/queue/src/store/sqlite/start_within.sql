-- Says from when on a start in a queue is late.
-- ?1: its name. ?2: the time in ms. Rows: none. Index: the primary key.
INSERT INTO queue (name, start_within_ms)
VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET start_within_ms = excluded.start_within_ms
