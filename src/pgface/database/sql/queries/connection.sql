-- Sessions: the search_path, the time zone, and which database this is.

-- enter_gallery --
-- Makes names lead to the gallery's schema and then to pgvector's, and sets the server's time zone, whatever zone this client has
-- requested. A client's zone hides the one of postgresql.conf (see `source`). Then log_timezone is used, which no client can
-- change, and which has the same default. ALTER DATABASE ... SET TimeZone overrides both.
SELECT
    set_config('search_path', concat_ws(', ', quote_ident(%(schema)s), quote_ident(n.nspname)), %(for_transaction)s),
    quote_literal(
        set_config(
            'TimeZone',
            coalesce(
                (
                    SELECT substring(setting FROM '=(.*)')
                    FROM pg_db_role_setting, unnest(setconfig) AS setting
                    WHERE setrole = 0
                        AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                        AND setting ILIKE 'timezone=%%'
                    ORDER BY setdatabase DESC
                    LIMIT 1
                ),
                (
                    SELECT reset_val
                    FROM pg_settings
                    WHERE name = 'TimeZone' AND source NOT IN ('client', 'user', 'database user')
                ),
                current_setting('log_timezone')
            ),
            %(for_transaction)s
        )
    )
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'vector';

-- enter_schema --
-- Sets the search path for this transaction.
SELECT set_config('search_path', concat_ws(', ', quote_ident(%(schema)s), quote_ident(nspname)), true)
FROM pg_extension
JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'vector';

-- database_identity --
-- Equal for two connections only if they lead to the same database of the same server.
SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_control_system();

-- limit_waiting --
-- Sets the timeout for locks, for this transaction or this session.
SELECT set_config('lock_timeout', %(time)s, %(in_transaction)s);
