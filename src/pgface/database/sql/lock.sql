-- Two programs that make the gallery, or bring it up to date, at once wait here for one another, or give up after lock_timeout; the
-- lock goes with the transaction. It is one on the gallery's own table, which others go on reading. Before there is one it is an
-- advisory lock, which anybody can take who can connect. The number is its name: the bytes of 'pgface' read as an integer.
DO $$
BEGIN
    IF to_regclass(quote_ident(current_schema()) || '.pgface_migrations') IS NULL THEN
        PERFORM pg_advisory_xact_lock(123589401600869);
    ELSE
        EXECUTE format('LOCK TABLE %I.pgface_migrations IN EXCLUSIVE MODE', current_schema());
    END IF;
END
$$;
