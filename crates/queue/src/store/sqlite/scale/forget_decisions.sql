-- Removes what was decided too long ago.
-- ?1: changes up to this time. ?2: holds up to this time. Rows: none. Index: decision_age, twice.
DELETE FROM decision WHERE weight = 'change' AND last_at < ?1 OR weight = 'hold' AND last_at < ?2
