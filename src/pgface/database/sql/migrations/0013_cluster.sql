-- A gallery in a distributed schema of Citus. Its rows are on one node, and clients connect to another one, the coordinator.
-- Settings, transaction numbers and statistics are those of a node. So functions that need them run on the node of the rows:
-- Citus sends a function there if one of its arguments is a column. Their names end with _here, and the argument is
-- gallery.only_row. On other servers there is one node, and they run as before.

-- Which node has numbered the newest events, and what it adds to its own transaction numbers. See number_event().
ALTER TABLE event_stream ADD COLUMN IF NOT EXISTS node INTEGER DEFAULT NULL;
ALTER TABLE event_stream ADD COLUMN IF NOT EXISTS shift BIGINT NOT NULL DEFAULT 0;

-- Searching

CREATE OR REPLACE FUNCTION users_by_index_here(
    of_gallery BOOLEAN,
    query_embedding vector(512),
    method text,
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
-- These values end with the function, and the session's own ones return.
SET hnsw.ef_search = 40
SET ivfflat.probes = 1
SET jit = off
-- Otherwise PostgreSQL would plan every call again, because it expects longer lists if it does not know the limit.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    -- With norm 1, because halfvec cannot represent very large and very small numbers.
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512);
BEGIN
    PERFORM set_config(CASE method WHEN 'ivfflat' THEN 'ivfflat.probes' ELSE 'hnsw.ef_search' END, effort::text, true);
    -- The constant limits are for the planner. It does not know the other limits and would expect a tenth of the table.
    IF method = 'hnsw_binary' THEN
        probe_bits := binary_quantize(query_embedding)::bit(512);
        RETURN nearest_users(
            probe,
            ARRAY(
                SELECT near.template_id
                FROM (SELECT b.template_id FROM template_bits b ORDER BY b.bits <~> probe_bits LIMIT 1000) near
                LIMIT effort
            ),
            max_users
        );
    END IF;
    -- Each kind of index has a different operator, so that the method decides which index is used while both exist. Templates have
    -- norm 1, so both operators give the same order.
    IF method = 'ivfflat' THEN
        RETURN ARRAY(
            SELECT near.user_id
            FROM (SELECT t.user_id FROM user_templates t ORDER BY t.template <#> probe LIMIT 1000) near
            LIMIT max_users
        );
    END IF;
    RETURN ARRAY(
        SELECT near.user_id
        FROM (SELECT t.user_id FROM user_templates t ORDER BY t.template <=> probe LIMIT 1000) near
        LIMIT max_users
    );
END;
$$;

COMMENT ON FUNCTION users_by_index_here(boolean, vector, text, integer, integer) IS
    'Internal: users_by_index, on the node that it is called on. The effort applies to that node.';

CREATE OR REPLACE FUNCTION users_by_index(
    query_embedding vector(512),
    method text,
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT users_by_index_here(g.only_row, query_embedding, method, effort, max_users) FROM gallery g);
END;
$$;

COMMENT ON FUNCTION users_by_index(vector, text, integer, integer) IS
    'Internal: the first look. Returns the users of the nearest templates in an index. The effort is hnsw.ef_search (1 to 1000) or '
    'ivfflat.probes.';

CREATE OR REPLACE FUNCTION changed_embeddings_here(of_gallery BOOLEAN)
RETURNS BIGINT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    part REGCLASS := 'face_embeddings'::regclass;
    shard TEXT;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL THEN
        EXECUTE 'SELECT concat(''face_embeddings_'', min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1'
        INTO shard USING part;
        part := coalesce(to_regclass(format('%I.%I', current_schema(), shard)), part);
    END IF;
    RETURN pg_stat_get_tuples_inserted(part) + pg_stat_get_tuples_updated(part) + pg_stat_get_tuples_deleted(part);
END;
$$;

COMMENT ON FUNCTION changed_embeddings_here(boolean) IS
    'Internal: changed_embeddings, on the node that it is called on.';

CREATE OR REPLACE FUNCTION changed_embeddings()
RETURNS BIGINT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT changed_embeddings_here(g.only_row) FROM gallery g);
END;
$$;

COMMENT ON FUNCTION changed_embeddings() IS
    'Internal: the number of rows of face_embeddings that have changed since PostgreSQL began to count.';

CREATE OR REPLACE FUNCTION relation_here(of_gallery BOOLEAN, of_table TEXT, of_index TEXT DEFAULT NULL)
RETURNS TABLE(
    bytes BIGINT, total_bytes BIGINT, dead_rows BIGINT, changed_rows BIGINT, last_vacuum TIMESTAMPTZ, last_analyze TIMESTAMPTZ,
    valid BOOLEAN, scans BIGINT, last_scan TIMESTAMPTZ
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    part REGCLASS := to_regclass(format('%I.%I', current_schema(), of_table));
    shard TEXT := '';
BEGIN
    IF to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL THEN
        EXECUTE 'SELECT concat(''_'' || min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1'
        INTO shard USING part;
    END IF;
    part := to_regclass(format('%I.%I', current_schema(), coalesce(of_index, of_table) || shard));
    RETURN QUERY SELECT pg_table_size(part), pg_total_relation_size(part), pg_stat_get_dead_tuples(part),
        pg_stat_get_mod_since_analyze(part),
        greatest(pg_stat_get_last_vacuum_time(part), pg_stat_get_last_autovacuum_time(part)),
        greatest(pg_stat_get_last_analyze_time(part), pg_stat_get_last_autoanalyze_time(part)),
        (SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = part), pg_stat_get_numscans(part), pg_stat_get_lastscan(part);
END;
$$;

COMMENT ON FUNCTION relation_here(boolean, text, text) IS
    'Internal: the size and the statistics of a table or an index, on the node that it is called on.';

-- Events

-- These functions read the shard by its own name. While a gallery moves, a statement can still run on the former node. A query
-- through Citus could then read events of the new node, whose numbers the former node does not know.
CREATE OR REPLACE FUNCTION event_clock_here(
    of_gallery BOOLEAN, OUT shard TEXT, OUT series TEXT, OUT deleted_transaction_id XID8, OUT deleted_id BIGINT, OUT horizon XID8,
    OUT next XID8
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    own_node INTEGER;
    stream_shard TEXT := '';
    stream event_stream;
    shift BIGINT;
BEGIN
    shard := '';
    IF to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL THEN
        EXECUTE 'SELECT concat(''_'' || min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1'
        INTO shard USING 'gallery_events'::regclass;
        EXECUTE 'SELECT concat(''_'' || min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1'
        INTO stream_shard USING 'event_stream'::regclass;
        EXECUTE 'SELECT groupid FROM pg_catalog.pg_dist_local_group' INTO own_node;
    END IF;
    EXECUTE format('SELECT * FROM event_stream%s', stream_shard) INTO stream;
    series := coalesce(stream.name, '00000000');
    deleted_transaction_id := coalesce(stream.deleted_transaction_id, '0');
    deleted_id := coalesce(stream.deleted_id, 0);
    IF own_node IS DISTINCT FROM stream.node THEN
        -- Since the gallery came to this node, no event was written.
        EXECUTE format('SELECT (greatest(max(e.transaction_id), $1)::text::bigint + 1)::text::xid8 FROM gallery_events%s e', shard)
        INTO next USING deleted_transaction_id;
        horizon := next;
        RETURN;
    END IF;
    shift := coalesce(stream.shift, 0);
    horizon := (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + shift)::text::xid8;
    next := (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + shift)::text::xid8;
END;
$$;

COMMENT ON FUNCTION event_clock_here(boolean) IS
    'Internal: the series of events, the lowest number of a transaction that may still write events, and the lowest number that no '
    'transaction has.';

CREATE OR REPLACE FUNCTION read_events_here(of_gallery BOOLEAN, after TEXT, max_events INTEGER, kinds TEXT[])
RETURNS TABLE(
    cursor TEXT, id BIGINT, at TIMESTAMPTZ, kind TEXT, user_id INTEGER, other_user_id INTEGER, photo_id INTEGER,
    matched BOOLEAN, confidence REAL, count INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    parts CONSTANT TEXT[] := regexp_match(after, '^([0-9a-f]{8})\.([0-9]{1,19})\.([0-9]{1,18})$');
    after_transaction XID8 := coalesce(parts[2], '0')::xid8;
    after_id BIGINT := coalesce(parts[3], '0')::bigint;
    clock RECORD;
BEGIN
    SELECT * INTO clock FROM event_clock_here(of_gallery);
    IF after IS NOT NULL AND parts IS NULL THEN
        RAISE EXCEPTION 'this is not a cursor of events' USING ERRCODE = 'invalid_parameter_value';
    ELSIF after IS NOT NULL AND (
        parts[1] IS DISTINCT FROM clock.series
        OR (after_transaction, after_id) < (clock.deleted_transaction_id, clock.deleted_id)
        OR after_transaction > clock.next
    ) THEN
        RAISE EXCEPTION 'events after this cursor were deleted' USING ERRCODE = 'PGF05';
    END IF;
    -- The function has its caller's snapshot, so all events below its horizon are visible.
    RETURN QUERY EXECUTE format(
        'SELECT concat_ws(''.'', $1, e.transaction_id, e.id), e.id, e.at, e.kind, e.user_id, e.other_user_id, e.photo_id, e.matched,
            e.confidence, e.count
        FROM gallery_events%s e
        WHERE (e.transaction_id, e.id) > ($2, $3)
            AND e.transaction_id < $4
            AND ($5 IS NULL OR e.kind = ANY ($5))
        ORDER BY e.transaction_id, e.id
        LIMIT $6',
        clock.shard
    )
    USING clock.series, after_transaction, after_id, clock.horizon, kinds, max_events;
END;
$$;

COMMENT ON FUNCTION read_events_here(boolean, text, integer, text[]) IS
    'Internal: read_events, on the node that it is called on.';

CREATE OR REPLACE FUNCTION read_events(after TEXT DEFAULT NULL, max_events INTEGER DEFAULT 100, kinds TEXT[] DEFAULT NULL)
RETURNS TABLE(
    cursor TEXT, id BIGINT, at TIMESTAMPTZ, kind TEXT, user_id INTEGER, other_user_id INTEGER, photo_id INTEGER,
    matched BOOLEAN, confidence REAL, count INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT e.* FROM gallery g CROSS JOIN LATERAL read_events_here(g.only_row, after, max_events, read_events.kinds) e;
END;
$$;

COMMENT ON FUNCTION read_events(text, integer, text[]) IS
    'The events after a cursor, in order, each with its own cursor. Without a cursor, it begins with the oldest event. It never '
    'returns an event before an earlier one is certain, so keep the cursor of the last event and ask again. kinds of NULL means '
    'all kinds, max_events of NULL all events. Raises PGF05 if events after the cursor were deleted.';

-- Not the horizon itself: after a crash, PostgreSQL uses numbers of transactions again that have left no trace on the disk.
CREATE OR REPLACE FUNCTION last_event_cursor_here(of_gallery BOOLEAN)
RETURNS TEXT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    clock RECORD;
    newest RECORD;
BEGIN
    SELECT * INTO clock FROM event_clock_here(of_gallery);
    EXECUTE format(
        'SELECT e.transaction_id, e.id FROM gallery_events%s e
        WHERE e.transaction_id < $1
        ORDER BY e.transaction_id DESC, e.id DESC
        LIMIT 1',
        clock.shard
    )
    INTO newest USING clock.horizon;
    RETURN concat_ws(
        '.', clock.series, coalesce(newest.transaction_id, clock.deleted_transaction_id), coalesce(newest.id, clock.deleted_id)
    );
END;
$$;

COMMENT ON FUNCTION last_event_cursor_here(boolean) IS
    'Internal: last_event_cursor, on the node that it is called on.';

CREATE OR REPLACE FUNCTION last_event_cursor()
RETURNS TEXT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT last_event_cursor_here(g.only_row) FROM gallery g);
END;
$$;

COMMENT ON FUNCTION last_event_cursor() IS
    'The cursor of the newest event that read_events() can return now. A reader that begins with it gets only later events.';

-- Both in one call, because each statement has a snapshot of its own on the other node.
CREATE OR REPLACE FUNCTION event_page_here(of_gallery BOOLEAN, after TEXT, max_events INTEGER, kinds TEXT[])
RETURNS TABLE(
    newest TEXT, cursor TEXT, id BIGINT, at TIMESTAMPTZ, kind TEXT, user_id INTEGER, other_user_id INTEGER, photo_id INTEGER,
    matched BOOLEAN, confidence REAL, count INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT last_event_cursor_here(of_gallery), e.*
        FROM (VALUES (1)) AS one
        LEFT JOIN LATERAL read_events_here(of_gallery, after, max_events, event_page_here.kinds) e ON TRUE;
END;
$$;

COMMENT ON FUNCTION event_page_here(boolean, text, integer, text[]) IS
    'Internal: the same as read_events, and with each event the cursor of the newest one, from the same snapshot. One row without '
    'an event if there is no event to return.';

CREATE OR REPLACE FUNCTION prune_events(days INTEGER)
RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    horizon CONSTANT XID8 := (SELECT c.horizon FROM gallery g CROSS JOIN LATERAL event_clock_here(g.only_row) c);
    kept RECORD;
    last_deleted RECORD;
    deleted BIGINT;
BEGIN
    IF days < 1 AND NOT is_gallery_owner() THEN
        RAISE EXCEPTION 'only the owner of the gallery may delete events of the last day' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO event_stream DEFAULT VALUES ON CONFLICT DO NOTHING;
    -- One at a time, and only the first ones in the order of cursors.
    PERFORM FROM event_stream FOR UPDATE;
    SELECT e.transaction_id, e.id INTO kept
    FROM gallery_events e
    WHERE e.at >= statement_timestamp() - make_interval(days => days)
    ORDER BY e.transaction_id, e.id
    LIMIT 1;
    SELECT e.transaction_id, e.id INTO last_deleted
    FROM gallery_events e
    WHERE (kept.id IS NULL OR (e.transaction_id, e.id) < (kept.transaction_id, kept.id))
        AND e.transaction_id < horizon
    ORDER BY e.transaction_id DESC, e.id DESC
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE event_stream SET deleted_transaction_id = last_deleted.transaction_id, deleted_id = last_deleted.id;
    DELETE FROM gallery_events e WHERE (e.transaction_id, e.id) <= (last_deleted.transaction_id, last_deleted.id);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END;
$$;

COMMENT ON FUNCTION prune_events(integer) IS
    'Deletes the events that are older than so many days, and returns their number. A cursor from before them no longer works. '
    'Only the owner can delete events of the last day.';

-- When the gallery has come to a node, the numbers of its transactions may be lower than those of the events. So the first event
-- that is written there sets a number that is added to them. Every transaction that can write events there is at least as new as
-- the oldest one that is running then, so all get numbers above the earlier ones. Until the first one commits, the others wait.
CREATE OR REPLACE FUNCTION number_events_here(of_gallery BOOLEAN)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    oldest CONSTANT BIGINT := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    own_node INTEGER;
    shard TEXT;
    stream_shard TEXT;
    newest BIGINT;
    manually TEXT;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_local_group') IS NULL THEN
        RETURN;
    END IF;
    EXECUTE 'SELECT groupid FROM pg_catalog.pg_dist_local_group' INTO own_node;
    EXECUTE 'SELECT concat(''_'' || min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1'
    INTO shard USING 'gallery_events'::regclass;
    EXECUTE 'SELECT concat(''_'' || min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1'
    INTO stream_shard USING 'event_stream'::regclass;
    manually := current_setting('citus.enable_manual_changes_to_shards');
    SET LOCAL citus.enable_manual_changes_to_shards = on;
    EXECUTE format('INSERT INTO event_stream%s DEFAULT VALUES ON CONFLICT DO NOTHING', stream_shard);
    EXECUTE format(
        'SELECT greatest((SELECT max(e.transaction_id) FROM gallery_events%s e), s.deleted_transaction_id)::text::bigint
        FROM event_stream%s s',
        shard, stream_shard
    )
    INTO newest;
    -- If another transaction has done it meanwhile, this one waits for its end, and changes nothing.
    EXECUTE format('UPDATE event_stream%s s SET node = $1, shift = $2 WHERE s.node IS DISTINCT FROM $1', stream_shard)
    USING own_node, newest + 1 - oldest;
    PERFORM set_config('citus.enable_manual_changes_to_shards', manually, TRUE);
END;
$$;

COMMENT ON FUNCTION number_events_here(boolean) IS
    'Internal: lets the node that it is called on number the events from now on.';

-- The trigger runs on the node of the rows, so one node numbers all events, whichever node a client has written them from.
CREATE OR REPLACE FUNCTION number_event()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    own_node INTEGER;
    shard TEXT;
    stream RECORD;
BEGIN
    EXECUTE 'SELECT l.groupid, (
            SELECT concat(''_'' || min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $1
        ) FROM pg_catalog.pg_dist_local_group l'
    INTO own_node, shard USING 'event_stream'::regclass;
    EXECUTE format('SELECT s.node, s.shift FROM event_stream%s s', shard) INTO stream;
    IF stream.node IS DISTINCT FROM own_node THEN
        PERFORM number_events_here(TRUE);
        EXECUTE format('SELECT s.node, s.shift FROM event_stream%s s', shard) INTO stream;
    END IF;
    NEW.transaction_id := (pg_current_xact_id()::text::bigint + stream.shift)::text::xid8;
    NEW.id := nextval(pg_get_serial_sequence('gallery_events', 'id'));
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION number_event() IS
    'Internal: gives an event its place in the order, on a cluster, where the transaction numbers of nodes differ.';

-- A shard has another name than its table.
DO $$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('record_face_events'::regproc), 'TG_RELID = ''contested_faces''::regclass',
        'starts_with(TG_TABLE_NAME, ''contested_faces'')'
    );
END
$$;

CREATE OR REPLACE FUNCTION restart_events()
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM gallery_events;
    DELETE FROM event_stream;
    INSERT INTO event_stream DEFAULT VALUES;
    PERFORM number_events_here(g.only_row) FROM gallery g;
END;
$$;

COMMENT ON FUNCTION restart_events() IS
    'Deletes all events and begins a new series, so that no earlier cursor works. The owner calls it after pg_restore, or after '
    'the server was recovered to an earlier time, because numbers of transactions then begin again. pgface restore does so itself.';

REVOKE EXECUTE ON FUNCTION prune_events(INTEGER), restart_events(), number_events_here(BOOLEAN), number_event() FROM PUBLIC;

DO $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_local_group') IS NOT NULL THEN
        CREATE OR REPLACE TRIGGER number_event
        BEFORE INSERT ON gallery_events
        FOR EACH ROW
        EXECUTE FUNCTION number_event();
        PERFORM number_events_here(g.only_row) FROM gallery g;
    END IF;
END
$$;

-- Statistics

-- Citus refuses ALTER TABLE ... SET STATISTICS, so the earlier scripts could not set it. It is set on the tables of both nodes:
-- the node of the rows must not copy them into its statistics, and after a move Citus makes the tables there like those of the
-- coordinator.
CREATE OR REPLACE FUNCTION remove_statistics_here(of_gallery BOOLEAN, only_look BOOLEAN DEFAULT FALSE)
RETURNS TEXT[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    chosen RECORD;
    shard TEXT;
    part REGCLASS;
    kept BOOLEAN;
    found TEXT[] := '{}';
    propagates CONSTANT TEXT := current_setting('citus.enable_ddl_propagation', TRUE);
BEGIN
    IF to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN found;
    END IF;
    SET LOCAL citus.enable_ddl_propagation = off;
    FOR chosen IN
        SELECT * FROM (VALUES
            ('face_embeddings', 'embedding'), ('user_templates', 'template'), ('template_bits', 'bits'),
            ('reembedded_faces', 'embedding'), ('photo_crops', 'jpeg')
        ) AS of(table_name, column_name)
    LOOP
        part := to_regclass(format('%I.%I', current_schema(), chosen.table_name));
        EXECUTE 'SELECT concat($1, ''_'', min(s.shardid)) FROM pg_catalog.pg_dist_shard s WHERE s.logicalrelid = $2'
        INTO shard USING chosen.table_name, part;
        FOREACH part IN ARRAY array_remove(ARRAY[part, to_regclass(format('%I.%I', current_schema(), shard))], NULL) LOOP
            SELECT EXISTS (
                SELECT FROM pg_stats s
                WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = chosen.column_name
            )
            INTO kept
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = part;
            IF kept OR EXISTS (
                SELECT FROM pg_attribute a
                WHERE a.attrelid = part AND a.attname = chosen.column_name AND a.attstattarget IS DISTINCT FROM 0
            ) THEN
                found := found || format('%s.%s', chosen.table_name, chosen.column_name);
            END IF;
            CONTINUE WHEN only_look;
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', part, chosen.column_name);
            -- Before version 18, only a new table has no statistics. A move of the gallery makes one.
            IF kept AND to_regproc('pg_catalog.pg_clear_attribute_stats') IS NOT NULL THEN
                EXECUTE 'SELECT pg_clear_attribute_stats(n.nspname, c.relname, $2, FALSE)
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1'
                USING part, chosen.column_name;
            END IF;
        END LOOP;
    END LOOP;
    PERFORM set_config('citus.enable_ddl_propagation', propagates, TRUE);
    RETURN found;
END;
$$;

COMMENT ON FUNCTION remove_statistics_here(boolean, boolean) IS
    'Internal: keeps biometric data out of PostgreSQL''s statistics, on the node that it is called on, and removes what is '
    'there. Returns the columns that were kept or would have been. With only_look, it changes nothing. Without Citus, earlier '
    'versions have done this.';

REVOKE EXECUTE ON FUNCTION remove_statistics_here(BOOLEAN, BOOLEAN) FROM PUBLIC;

DO $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL THEN
        PERFORM remove_statistics_here(TRUE);
        PERFORM remove_statistics_here(g.only_row) FROM gallery g;
    END IF;
END
$$;

-- Placing and moving

-- Citus cannot move an unlogged table while it is in use. So on a cluster, these tables are in the write-ahead log. Their
-- contents are encrypted with keys that are not in the database, or are keyed hashes. Elsewhere, the tables stay as they are.
DO $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL AND 'u' = (
        SELECT c.relpersistence FROM pg_class c WHERE c.oid = 'login_challenges'::regclass
    ) THEN
        DROP TABLE login_challenges, liveness_sessions, liveness_frames;
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS login_challenges (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    hints INTEGER NOT NULL DEFAULT 0,
    state BYTEA NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_login_challenges_ends_at ON login_challenges(ends_at);

CREATE TABLE IF NOT EXISTS liveness_sessions (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    status TEXT NOT NULL DEFAULT 'CREATED' CHECK (status IN ('CREATED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED')),
    hints INTEGER NOT NULL DEFAULT 0,
    state BYTEA
);

CREATE INDEX IF NOT EXISTS idx_liveness_sessions_ends_at ON liveness_sessions(ends_at);

CREATE TABLE IF NOT EXISTS liveness_frames (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    digests BIGINT[] NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_liveness_frames_ends_at ON liveness_frames(ends_at);
CREATE INDEX IF NOT EXISTS idx_liveness_frames_digests ON liveness_frames USING gin (digests);

-- Citus distributes the tables of a distributed schema when a client makes them, but not when a function does. So the schema of
-- a new gallery is an ordinary one, until it is complete.
CREATE OR REPLACE FUNCTION make_schema(new_schema TEXT)
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    distributes CONSTANT BOOLEAN := coalesce(current_setting('citus.enable_schema_based_sharding', TRUE), '') = 'on';
BEGIN
    IF distributes THEN
        SET LOCAL citus.enable_schema_based_sharding = off;
    END IF;
    EXECUTE format('CREATE SCHEMA %I', new_schema);
    IF distributes THEN
        SET LOCAL citus.enable_schema_based_sharding = on;
    END IF;
END;
$$;

COMMENT ON FUNCTION make_schema(text) IS 'Internal: creates the schema of a gallery, not distributed yet.';

CREATE OR REPLACE FUNCTION distribute_schema(new_schema TEXT)
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_shard') IS NOT NULL
        AND current_setting('citus.enable_schema_based_sharding', TRUE) = 'on'
    THEN
        EXECUTE format('SELECT citus_schema_distribute(%L::regnamespace)', quote_ident(new_schema));
    END IF;
END;
$$;

COMMENT ON FUNCTION distribute_schema(text) IS
    'Internal: puts a new gallery onto a node of the cluster, if there is one with schema-based sharding.';

-- As before. A statement has no query within another one, and reads one schema, because each schema may be on another node.
CREATE OR REPLACE FUNCTION create_gallery(gallery_name TEXT, model JSONB, authority TEXT)
RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
SET client_min_messages = warning
-- `pgface init` has checked them. PostgreSQL would keep each in the memory of this session.
SET check_function_bodies = off
AS $$
DECLARE
    home CONSTANT TEXT := current_schema();
    own_version CONSTANT INTEGER := (SELECT max(m.version) FROM pgface_migrations m);
    own_store CONSTANT TEXT := (SELECT g.photo_store FROM gallery g);
    -- Random, because the status of a gallery shows it. A number would reveal how many galleries there are.
    made CONSTANT TEXT := 'pgface_' || replace(gen_random_uuid()::text, '-', '');
    -- To find a function by its name, PostgreSQL reads the functions of this name in all schemas, again after each change. So
    -- the new functions have names that no other gallery has, until all is done.
    suffix CONSTANT TEXT := '_' || right(made, 16);
    script TEXT[];
    statement TEXT;
BEGIN
    PERFORM require_operator(authority);
    PERFORM require_registry();
    IF gallery_name IS NOT NULL AND NOT EXISTS (SELECT FROM galleries WHERE name IS NULL) THEN
        PERFORM create_gallery(NULL, model, authority);
    END IF;
    INSERT INTO galleries (name, schema_name, schema_version)
    VALUES (gallery_name, made, own_version)
    ON CONFLICT (name) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(s.statement ORDER BY s.position) INTO script FROM gallery_script s;
    PERFORM make_schema(made);
    PERFORM set_config('search_path', quote_ident(made), true);
    FOREACH statement IN ARRAY script LOOP
        EXECUTE replace(statement, '@suffix@', suffix);
    END LOOP;
    EXECUTE format('SELECT %I.copy_gallery_rights(%L, %L)', home, made, suffix);
    EXECUTE format('SELECT %I.remove_suffix(%L, %L)', home, made, suffix);
    IF model IS NOT NULL THEN
        -- A new row, and not an UPDATE: the plans of a trigger's statements would stay in the memory of this session, for each
        -- gallery, and PostgreSQL reads all of them after each change of a table.
        EXECUTE format('DELETE FROM %I.gallery', made);
        EXECUTE format(
            'INSERT INTO %I.gallery (model_name, dimension, alignment_size, weights_sha256, verify_threshold, '
            'identify_threshold, photo_store) SELECT m.model_name, m.dimension, m.alignment_size, m.weights_sha256, '
            'm.verify_threshold, m.identify_threshold, $2 FROM jsonb_populate_record(NULL::%I.gallery, $1) m',
            made, made
        ) USING model, own_store;
        EXECUTE format('INSERT INTO %I.gallery_events (kind) VALUES (''model_changed'')', made);
        EXECUTE format(
            'INSERT INTO %I.confidence_anchors SELECT * FROM jsonb_populate_recordset(NULL::%I.confidence_anchors, $1)',
            made, made
        ) USING model -> 'anchors';
    ELSE
        EXECUTE format('UPDATE %I.gallery SET photo_store = $1', made) USING own_store;
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %I.is_operator(secret TEXT) RETURNS BOOLEAN LANGUAGE plpgsql STABLE SECURITY DEFINER '
        'SET search_path TO %I, pg_temp AS $body$ BEGIN RETURN %I.is_operator(secret); END $body$',
        made, made, home
    );
    EXECUTE format('SELECT %I.distribute_schema(%L)', home, made);
    IF to_regclass('pg_catalog.pg_dist_local_group') IS NOT NULL THEN
        EXECUTE format('SELECT %1$I.number_events_here(g.only_row) FROM %1$I.gallery g', made);
    END IF;
    RETURN made;
END;
$$;

COMMENT ON FUNCTION create_gallery(text, jsonb, text) IS
    'Makes a gallery in a schema of its own, binds it to a model, and returns the name of the schema, or NULL if there is a '
    'gallery with this name. It needs the authority of an administrator of all galleries or the owner.';

CREATE OR REPLACE FUNCTION register_gallery(gallery_name TEXT, of_schema TEXT, url TEXT, authority TEXT)
RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    own_version CONSTANT INTEGER := (SELECT max(m.version) FROM pgface_migrations m);
BEGIN
    PERFORM require_operator(authority);
    IF url IS NULL THEN
        -- delete_gallery() would drop a schema of this database with the owner's rights.
        RAISE EXCEPTION 'a gallery of this database is made by create_gallery()' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT EXISTS (SELECT FROM galleries WHERE name IS NULL) THEN
        PERFORM create_gallery(NULL, NULL, authority);
    END IF;
    INSERT INTO galleries (name, schema_name, database_url, schema_version)
    VALUES (gallery_name, of_schema, url, own_version)
    ON CONFLICT (name) DO NOTHING;
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION register_gallery(text, text, text, text) IS
    'Registers a gallery that is on another server, and returns whether the name was free. It needs the authority of an '
    'administrator of all galleries or the owner.';

REVOKE EXECUTE ON FUNCTION
    make_schema(TEXT), distribute_schema(TEXT), create_gallery(TEXT, JSONB, TEXT), register_gallery(TEXT, TEXT, TEXT, TEXT)
FROM PUBLIC;
