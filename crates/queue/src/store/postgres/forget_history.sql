-- Removes history of more than 8 days: a week, and a day to look back from its beginning. Rows: none. Locks: what is
-- removed. Index: history_at; history's primary key.
-- The last row before the recent past stays however old it is: the next change is counted from it.
DELETE FROM headcount.history h
WHERE h.at < (SELECT clock_timestamp() - interval '8 days')
  AND EXISTS (
      SELECT FROM headcount.history n
      WHERE n.queue = h.queue AND n.priority = h.priority AND n.kind = h.kind AND n.at > h.at
        AND n.at < (SELECT clock_timestamp() - interval '1 hour')
  )
