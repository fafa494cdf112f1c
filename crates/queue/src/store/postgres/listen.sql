-- Hears from now on when somebody tells of new jobs; a notice's text is the queue. Rows: none. Locks: none.
LISTEN "headcount.wake"
