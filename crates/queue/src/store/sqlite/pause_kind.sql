-- Pauses or resumes a kind.
-- ?1: its name. ?2: whether it is paused. Rows: none. Index: the primary key.
INSERT INTO kind (kind, paused) VALUES (?1, ?2) ON CONFLICT (kind) DO UPDATE SET paused = excluded.paused
