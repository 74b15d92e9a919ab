-- Makes programs that create or upgrade the gallery at the same time wait for each other, or give up after lock_timeout. The lock
-- ends with the transaction. It is a lock on the gallery's own table, which other sessions can still read. Before that table
-- exists, it is an advisory lock, which every role that can connect can take. Its number is the bytes of 'pgface' as an integer.
DO $$
BEGIN
    IF to_regclass(quote_ident(current_schema()) || '.pgface_migrations') IS NULL THEN
        PERFORM pg_advisory_xact_lock(123589401600869);
    ELSE
        EXECUTE format('LOCK TABLE %I.pgface_migrations IN EXCLUSIVE MODE', current_schema());
    END IF;
END
$$;
