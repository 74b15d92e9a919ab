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

-- replica_state --
-- How far a replica is behind, as it knows itself. Without a connection to its primary, it does not know what it misses.
SELECT
    pg_is_in_recovery() AS is_replica,
    greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::bigint AS bytes,
    EXISTS (SELECT FROM pg_stat_wal_receiver) AS is_connected,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float AS seconds_since_commit;

-- is_replica --
SELECT pg_is_in_recovery();

-- written_position --
-- The end of what the primary has written to its log, and the timeline of that log. NULL on a replica. With synchronous_commit =
-- off, commits are visible before they are written, so the end of what will be written counts.
SELECT
    w.position::text AS position,
    -- pg_walfile_name() fails on a replica.
    CASE WHEN w.position IS NOT NULL THEN substr(pg_walfile_name(w.position), 1, 8) END AS timeline
FROM (
    SELECT CASE
        WHEN pg_is_in_recovery() THEN NULL
        WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn()
        ELSE pg_current_wal_flush_lsn()
    END
) AS w (position);

-- replayed_position --
-- The bytes that a replica is behind a position of its primary, at most 0 if it shows everything up to there. NULL if it follows
-- another timeline, because positions of two timelines cannot be compared. A replica learns of a new timeline with its next
-- restart point. A role with pg_read_all_stats sees it immediately.
SELECT
    CASE
        WHEN NOT pg_is_in_recovery() THEN NULL
        WHEN lpad(to_hex(greatest(c.timeline_id, r.min_recovery_end_timeline, w.received_tli)), 8, '0') = lower(%(timeline)s)
            THEN pg_wal_lsn_diff(%(position)s::pg_lsn, pg_last_wal_replay_lsn())::bigint
    END AS bytes,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float AS seconds_since_commit
FROM pg_control_checkpoint() AS c
CROSS JOIN pg_control_recovery() AS r
LEFT JOIN pg_stat_wal_receiver AS w ON TRUE;

-- limit_waiting --
-- Sets the timeout for locks, for this transaction or this session.
SELECT set_config('lock_timeout', %(time)s, %(in_transaction)s);
