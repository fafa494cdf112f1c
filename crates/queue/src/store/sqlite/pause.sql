-- Pauses or resumes a queue.
-- ?1: its name. ?2: whether it is paused. Rows: none. Index: the primary key.
INSERT INTO queue (name, paused) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused
