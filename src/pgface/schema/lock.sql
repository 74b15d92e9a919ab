-- Two programs that bring schemas up to date at once wait here for one another; the lock goes with the transaction.
-- The number is the lock's name: the bytes of 'pgface' read as an integer.
SELECT pg_advisory_xact_lock(123589401600869);
