-- Gives a lease to a holder, or renews it: whoever calls has seen that it may.
-- ?1 name, ?2 holder, ?3 epoch, ?4 since, ?5 until. Rows: none. Index: the primary key.
INSERT INTO lease (name, holder, epoch, since, until)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder,
    epoch = excluded.epoch,
    since = excluded.since,
    until = excluded.until
