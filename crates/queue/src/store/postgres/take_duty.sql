-- Takes a duty until the transaction ends. What it is about is read in a later statement: this one's view may be older
-- than what the doer before has written.
-- $1 name. Rows: name, if nobody else has it. Locks: the duty, SKIP LOCKED.
SELECT d.name FROM headcount.duty d WHERE d.name = $1 FOR UPDATE SKIP LOCKED
