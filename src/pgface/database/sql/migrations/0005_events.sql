-- The events of the gallery, which other programs read in order and by cursor: read_events(). Triggers write them, so that SQL
-- clients and bulk loads are covered. Only identifications and verifications are written by pgface.
--
-- Transactions commit in another order than they begin, so no sequence can be a cursor: a reader would skip the event of a
-- transaction that commits late. The order is the transaction's number first, and a reader sees an event only when every
-- transaction with a lower number has ended. The price is that one long transaction that writes, anywhere on the server,
-- delays the events of all later ones.

CREATE TABLE IF NOT EXISTS gallery_events (
    transaction_id XID8 NOT NULL DEFAULT pg_current_xact_id(),
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    kind TEXT NOT NULL,
    -- The number of the user. NULL if the event is about many users, if no user matched, or if the user was deleted since.
    user_id INTEGER,
    -- Of `user_merged`: the user that was deleted.
    other_user_id INTEGER,
    photo_id INTEGER,
    -- Of `identified` and `verified`.
    matched BOOLEAN,
    confidence REAL,
    -- How many faces, photos or users one statement has changed.
    count INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (transaction_id, id)
);

-- Deleting a user takes their number from their events.
CREATE INDEX IF NOT EXISTS idx_gallery_events_user_id ON gallery_events(user_id);

-- One row: the name of this series of events, which is part of each cursor, and the last event that was deleted because it was
-- old. A restored gallery has a new series, because its server counts transactions on its own.
CREATE TABLE IF NOT EXISTS event_stream (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    name TEXT NOT NULL DEFAULT left(gen_random_uuid()::text, 8),
    deleted_transaction_id XID8 NOT NULL DEFAULT '0',
    deleted_id BIGINT NOT NULL DEFAULT 0
);

INSERT INTO event_stream DEFAULT VALUES ON CONFLICT DO NOTHING;

-- The first event, unless the script runs again.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pgface_migrations m WHERE m.version >= 5) AND NOT EXISTS (SELECT FROM gallery_events) THEN
        INSERT INTO gallery_events (kind) VALUES ('gallery_created');
    END IF;
END
$$;

-- Reading, for every client that may read the two tables.

CREATE OR REPLACE FUNCTION read_events(after TEXT DEFAULT NULL, max_events INTEGER DEFAULT 100, kinds TEXT[] DEFAULT NULL)
RETURNS TABLE(
    cursor TEXT, id BIGINT, at TIMESTAMPTZ, kind TEXT, user_id INTEGER, other_user_id INTEGER, photo_id INTEGER,
    matched BOOLEAN, confidence REAL, count INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    parts CONSTANT TEXT[] := regexp_match(after, '^([0-9a-f]{8})\.([0-9]{1,19})\.([0-9]{1,18})$');
    after_transaction XID8 := coalesce(parts[2], '0')::xid8;
    after_id BIGINT := coalesce(parts[3], '0')::bigint;
    stream event_stream;
BEGIN
    SELECT * INTO stream FROM event_stream;
    IF after IS NOT NULL AND parts IS NULL THEN
        RAISE EXCEPTION 'this is not a cursor of events' USING ERRCODE = 'invalid_parameter_value';
    ELSIF after IS NOT NULL AND (
        parts[1] IS DISTINCT FROM coalesce(stream.name, '00000000')
        OR (after_transaction, after_id) < (stream.deleted_transaction_id, stream.deleted_id)
        OR after_transaction > pg_snapshot_xmax(pg_current_snapshot())
    ) THEN
        RAISE EXCEPTION 'events after this cursor were deleted' USING ERRCODE = 'PGF05';
    END IF;
    -- The function has its caller's snapshot, so all events below its horizon are visible.
    RETURN QUERY
        SELECT concat_ws('.', coalesce(stream.name, '00000000'), e.transaction_id, e.id), e.id, e.at, e.kind, e.user_id,
            e.other_user_id, e.photo_id, e.matched, e.confidence, e.count
        FROM gallery_events e
        WHERE (e.transaction_id, e.id) > (after_transaction, after_id)
            AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
            AND (kinds IS NULL OR e.kind = ANY (kinds))
        ORDER BY e.transaction_id, e.id
        LIMIT max_events;
END;
$$;

COMMENT ON FUNCTION read_events(text, integer, text[]) IS
    'The events after a cursor, in order, each with its own cursor. Without a cursor, it begins with the oldest event. It never '
    'returns an event before an earlier one is certain, so keep the cursor of the last event and ask again. kinds of NULL means '
    'all kinds, max_events of NULL all events. Raises PGF05 if events after the cursor were deleted.';

-- Not the horizon itself: after a crash, PostgreSQL uses numbers of transactions again that have left no trace on the disk.
CREATE OR REPLACE FUNCTION last_event_cursor()
RETURNS TEXT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    stream event_stream;
    newest gallery_events;
BEGIN
    SELECT * INTO stream FROM event_stream;
    SELECT * INTO newest
    FROM gallery_events e
    WHERE e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY e.transaction_id DESC, e.id DESC
    LIMIT 1;
    RETURN concat_ws(
        '.', coalesce(stream.name, '00000000'), coalesce(newest.transaction_id, stream.deleted_transaction_id, '0'),
        coalesce(newest.id, stream.deleted_id, 0)
    );
END;
$$;

COMMENT ON FUNCTION last_event_cursor() IS
    'The cursor of the newest event that read_events() can return now. A reader that begins with it gets only later events.';

-- Functions of the service's role, which has no right to write the two tables.

CREATE OR REPLACE FUNCTION record_searches(
    search_kind TEXT, of_users INTEGER[], matches BOOLEAN[], confidences REAL[]
)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    max_events CONSTANT INTEGER := 100;
    one RECORD;
BEGIN
    IF search_kind IS NULL OR search_kind NOT IN ('identified', 'verified') THEN
        RAISE EXCEPTION 'this is not the event of a search' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF cardinality(of_users) > max_events THEN
        INSERT INTO gallery_events (kind, count) VALUES (search_kind, cardinality(of_users));
        RETURN;
    END IF;
    -- Waits for a session that is deleting one of the users. Afterwards, their numbers are no longer written.
    PERFORM FROM users u WHERE u.id = ANY (of_users) ORDER BY u.id FOR KEY SHARE;
    FOR one IN
        SELECT (SELECT u.id FROM users u WHERE u.id = s.user_id) AS user_id, s.matched, s.confidence
        FROM unnest(of_users, matches, confidences) AS s(user_id, matched, confidence)
    LOOP
        INSERT INTO gallery_events (kind, user_id, matched, confidence)
        VALUES (search_kind, one.user_id, one.matched, one.confidence);
    END LOOP;
END;
$$;

COMMENT ON FUNCTION record_searches(text, integer[], boolean[], real[]) IS
    'Writes the events of identifications or verifications: for each face the user, whether they matched, and the confidence. '
    'More than 100 faces get one event with their number.';

CREATE OR REPLACE FUNCTION record_merge(merged_user INTEGER, into_user INTEGER)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (SELECT FROM users u WHERE u.id = merged_user) OR NOT EXISTS (SELECT FROM users u WHERE u.id = into_user) THEN
        RAISE EXCEPTION 'the merged user must be deleted first, and the other one must exist'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO gallery_events (kind, user_id, other_user_id) VALUES ('user_merged', into_user, merged_user);
END;
$$;

COMMENT ON FUNCTION record_merge(integer, integer) IS
    'Writes the event of a merge, in its transaction: the deleted user, and the user that has the faces now.';

CREATE OR REPLACE FUNCTION prune_events(days INTEGER)
RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
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
        AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
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

CREATE OR REPLACE FUNCTION restart_events()
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM gallery_events;
    DELETE FROM event_stream;
    INSERT INTO event_stream DEFAULT VALUES;
END;
$$;

COMMENT ON FUNCTION restart_events() IS
    'Deletes all events and begins a new series, so that no earlier cursor works. The owner calls it after pg_restore, or after '
    'the server was recovered to an earlier time, because numbers of transactions then begin again. pgface restore does so itself.';

-- Writing, by triggers.

CREATE OR REPLACE FUNCTION add_events(event_kind TEXT, of_users INTEGER[], of_photos INTEGER[])
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    max_events CONSTANT INTEGER := 100;
    one RECORD;
BEGIN
    IF cardinality(of_users) = 1 THEN
        INSERT INTO gallery_events (kind, user_id, photo_id) VALUES (event_kind, of_users[1], of_photos[1]);
    ELSIF max_events < (
        SELECT count(*) FROM (SELECT DISTINCT user_id FROM unnest(of_users) AS user_id LIMIT max_events + 1) AS few
    ) THEN
        INSERT INTO gallery_events (kind, count) VALUES (event_kind, cardinality(of_users));
    ELSIF of_users IS NOT NULL THEN
        FOR one IN
            SELECT changed.user_id, count(*) AS rows, CASE WHEN count(*) = 1 THEN min(changed.photo_id) END AS photo_id
            FROM unnest(of_users, of_photos) AS changed(user_id, photo_id)
            GROUP BY changed.user_id
            ORDER BY changed.user_id
        LOOP
            INSERT INTO gallery_events (kind, user_id, photo_id, count)
            VALUES (event_kind, one.user_id, one.photo_id, one.rows);
        END LOOP;
    END IF;
END;
$$;

COMMENT ON FUNCTION add_events(text, integer[], integer[]) IS
    'Internal: writes the events of one statement, given the user and the photo of each changed row: one event for each user, or '
    'a single one for more than 100 users.';

CREATE OR REPLACE FUNCTION add_event_of_truncated(event_kind TEXT, changed_table REGCLASS)
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    rows INTEGER;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', changed_table) INTO rows;
    IF rows > 0 THEN
        INSERT INTO gallery_events (kind, count) VALUES (event_kind, rows);
    END IF;
END;
$$;

COMMENT ON FUNCTION add_event_of_truncated(text, regclass) IS 'Internal: writes the event of all rows of a table.';

CREATE OR REPLACE FUNCTION record_user_events()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    -- Citus cannot join the table of changed rows with other tables. So the triggers read it first.
    of_users INTEGER[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE gallery_events SET user_id = NULL, other_user_id = NULL, photo_id = NULL, confidence = NULL;
        PERFORM add_event_of_truncated('user_deleted', TG_RELID);
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(c.id) INTO of_users FROM changed c;
        PERFORM add_events('user_added', of_users, NULL);
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(c.id) INTO of_users FROM changed c;
        UPDATE gallery_events e
        SET user_id = NULL, other_user_id = NULL, photo_id = NULL, confidence = NULL
        WHERE e.user_id IN (SELECT unnest(of_users));
        PERFORM add_events('user_deleted', of_users, NULL);
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_user_events() IS
    'Internal: writes the events of added and deleted users. Deleting a user also takes their number, their photos'' numbers and '
    'the confidence from their earlier events.';

CREATE OR REPLACE TRIGGER record_added_users
AFTER INSERT ON users
REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_user_events();

CREATE OR REPLACE TRIGGER record_deleted_users
AFTER DELETE ON users
REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_user_events();

CREATE OR REPLACE TRIGGER record_truncated_users
BEFORE TRUNCATE ON users
FOR EACH STATEMENT
EXECUTE FUNCTION record_user_events();

CREATE OR REPLACE FUNCTION record_changed_users()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    of_users INTEGER[];
BEGIN
    SELECT array_agg(c.id) INTO of_users
    FROM changed c
    JOIN before b ON b.id = c.id
    WHERE (b.name, b.email, b.external_id, b.labels, b.metadata, b.is_person)
        IS DISTINCT FROM (c.name, c.email, c.external_id, c.labels, c.metadata, c.is_person);
    PERFORM add_events('user_changed', of_users, NULL);
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_changed_users() IS 'Internal: writes the events of changed users. A new password is not an event.';

CREATE OR REPLACE TRIGGER record_changed_users
AFTER UPDATE ON users
REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_changed_users();

-- The event of a deleted user stands for all their photos and faces, which foreign keys delete.
CREATE OR REPLACE FUNCTION record_photo_events()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    of_users INTEGER[];
    of_photos INTEGER[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM add_event_of_truncated('photo_deleted', TG_RELID);
        RETURN NULL;
    END IF;
    SELECT array_agg(c.user_id), array_agg(c.id) INTO of_users, of_photos FROM changed c;
    SELECT array_agg(c.user_id), array_agg(c.id) INTO of_users, of_photos
    FROM unnest(of_users, of_photos) AS c(user_id, id)
    WHERE EXISTS (SELECT FROM users u WHERE u.id = c.user_id);
    PERFORM add_events('photo_deleted', of_users, of_photos);
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_photo_events() IS 'Internal: writes the events of deleted photos.';

CREATE OR REPLACE TRIGGER record_deleted_photos
AFTER DELETE ON photos
REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_photo_events();

CREATE OR REPLACE TRIGGER record_truncated_photos
BEFORE TRUNCATE ON photos
FOR EACH STATEMENT
EXECUTE FUNCTION record_photo_events();

CREATE OR REPLACE FUNCTION record_face_events()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    contested CONSTANT BOOLEAN := TG_RELID = 'contested_faces'::regclass;
    ids INTEGER[];
    of_users INTEGER[];
    of_photos INTEGER[];
    accepted_users INTEGER[];
    accepted_photos INTEGER[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM add_event_of_truncated('face_deleted', TG_RELID);
        RETURN NULL;
    END IF;
    SELECT array_agg(c.id), array_agg(c.user_id), array_agg(c.photo_id) INTO ids, of_users, of_photos FROM changed c;
    IF TG_OP = 'INSERT' THEN
        PERFORM add_events(CASE WHEN contested THEN 'face_contested' ELSE 'enrolled' END, of_users, of_photos);
        RETURN NULL;
    END IF;
    IF contested THEN
        -- An accepted face keeps its id, and a merge gives it to another user.
        SELECT array_agg(fe.user_id), array_agg(fe.photo_id) INTO accepted_users, accepted_photos
        FROM face_embeddings fe
        WHERE fe.id IN (SELECT unnest(ids));
        PERFORM add_events('face_accepted', accepted_users, accepted_photos);
    END IF;
    SELECT array_agg(c.user_id), array_agg(c.photo_id) INTO of_users, of_photos
    FROM unnest(ids, of_users, of_photos) AS c(id, user_id, photo_id)
    WHERE EXISTS (SELECT FROM users u WHERE u.id = c.user_id)
        AND NOT (contested AND EXISTS (SELECT FROM face_embeddings fe WHERE fe.id = c.id));
    PERFORM add_events('face_deleted', of_users, of_photos);
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_face_events() IS
    'Internal: writes the events of enrolled, contested, accepted and deleted faces.';

CREATE OR REPLACE TRIGGER record_enrolled_faces
AFTER INSERT ON face_embeddings
REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_face_events();

CREATE OR REPLACE TRIGGER record_deleted_faces
AFTER DELETE ON face_embeddings
REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_face_events();

CREATE OR REPLACE TRIGGER record_truncated_faces
BEFORE TRUNCATE ON face_embeddings
FOR EACH STATEMENT
EXECUTE FUNCTION record_face_events();

CREATE OR REPLACE TRIGGER record_contested_faces
AFTER INSERT ON contested_faces
REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_face_events();

CREATE OR REPLACE TRIGGER record_decided_faces
AFTER DELETE ON contested_faces
REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_face_events();

CREATE OR REPLACE FUNCTION record_changed_faces()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    of_users INTEGER[];
    of_photos INTEGER[];
BEGIN
    SELECT array_agg(c.user_id), array_agg(c.photo_id) INTO of_users, of_photos
    FROM changed c
    JOIN before b ON b.id = c.id
    WHERE b.user_id <> c.user_id OR b.embedding <> c.embedding;
    PERFORM add_events('face_changed', of_users, of_photos);
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_changed_faces() IS
    'Internal: writes the events of faces that got another embedding or another user.';

CREATE OR REPLACE TRIGGER record_changed_faces
AFTER UPDATE ON face_embeddings
REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT
EXECUTE FUNCTION record_changed_faces();

CREATE OR REPLACE FUNCTION record_changed_model()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO gallery_events (kind) VALUES ('model_changed');
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION record_changed_model() IS 'Internal: writes the event of a gallery that was bound to a model.';

CREATE OR REPLACE TRIGGER record_changed_model
AFTER UPDATE ON gallery
FOR EACH ROW
WHEN (
    OLD.model_changes <> NEW.model_changes
    OR OLD.model_name IS DISTINCT FROM NEW.model_name
    OR OLD.weights_sha256 IS DISTINCT FROM NEW.weights_sha256
)
EXECUTE FUNCTION record_changed_model();

REVOKE EXECUTE ON FUNCTION
    record_user_events(), record_changed_users(), record_photo_events(), record_face_events(), record_changed_faces(),
    record_changed_model(), add_events(TEXT, INTEGER[], INTEGER[]), add_event_of_truncated(TEXT, REGCLASS),
    record_searches(TEXT, INTEGER[], BOOLEAN[], REAL[]), record_merge(INTEGER, INTEGER), prune_events(INTEGER),
    restart_events()
FROM PUBLIC;
