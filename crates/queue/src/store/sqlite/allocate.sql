-- Takes numbers for ids and seqs.
-- ?1: how many. Rows: one, the last of them; they ascend without a gap.
UPDATE allocator SET last = last + ?1 RETURNING last
