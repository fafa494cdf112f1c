-- A transaction that does nothing and, as long as it stands, keeps what others have deleted from being cleared away.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT txid_current()
