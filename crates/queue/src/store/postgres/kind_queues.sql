-- The queues that have had jobs of a kind, as last folded. $1 kind. Rows: queue. Locks: none. Index: none; there are as
-- many lanes as there are queues, priorities and kinds together.
SELECT DISTINCT l.queue FROM headcount.lane l WHERE l.kind = $1
