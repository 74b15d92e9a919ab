-- What a role of less rights may do: the service begins logins, makes keys, sets passwords and adds to the audit log by the
-- functions below alone, each of which asks for what is needed, and no role takes a lock that it has no use for.

-- Locks that last for a transaction are locks on these rows. A role that may not write this table cannot take one, whereas
-- every role that can connect can take an advisory lock. The index is held for longer: by the server process that stands in its row.
CREATE TABLE IF NOT EXISTS gallery_locks (
    name TEXT PRIMARY KEY,
    process INTEGER,
    process_since TIMESTAMPTZ
);
INSERT INTO gallery_locks (name) VALUES ('enrollment'), ('photo files'), ('index') ON CONFLICT DO NOTHING;

-- Faces that people have enrolled for themselves and that the gallery identifies as another user's. They are compared where it is
-- asked whether somebody is this user, and never where it is asked who somebody is, until an administrator accepts them.
-- Ids are those of face_embeddings, so that they tell nothing.
CREATE TABLE IF NOT EXISTS contested_faces (
    id INTEGER PRIMARY KEY DEFAULT nextval('face_embeddings_id_seq'),
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    photo_id INTEGER NOT NULL REFERENCES photos(id) ON DELETE CASCADE,
    embedding vector(512) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    detection_score REAL,
    box_x REAL,
    box_y REAL,
    box_width REAL,
    box_height REAL,
    sharpness REAL,
    brightness REAL,
    yaw REAL,
    pitch REAL,
    roll REAL
);
ALTER TABLE contested_faces ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE INDEX IF NOT EXISTS idx_contested_faces_user_id ON contested_faces(user_id);
CREATE INDEX IF NOT EXISTS idx_contested_faces_photo_id ON contested_faces(photo_id);

-- Digests of used frames are deleted with the last face of their user, enrolled or contested.
CREATE OR REPLACE FUNCTION remove_used_frames()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM used_frames;
        RETURN NULL;
    END IF;
    DELETE FROM used_frames f
    WHERE f.user_id IN (SELECT g.user_id FROM gone g)
        AND NOT EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = f.user_id)
        AND NOT EXISTS (SELECT FROM contested_faces c WHERE c.user_id = f.user_id);
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION remove_used_frames() FROM PUBLIC;

CREATE OR REPLACE TRIGGER remove_used_frames
AFTER DELETE ON face_embeddings
REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT
EXECUTE FUNCTION remove_used_frames();

CREATE OR REPLACE TRIGGER remove_used_frames_of_truncated
AFTER TRUNCATE ON face_embeddings
FOR EACH STATEMENT
EXECUTE FUNCTION remove_used_frames();

CREATE OR REPLACE TRIGGER remove_used_frames_of_contested
AFTER DELETE ON contested_faces
REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT
EXECUTE FUNCTION remove_used_frames();

-- Browsers that users have logged in with: failures of others do not keep them out. Only the SHA-256 of what is in the
-- browser's cookie is kept, and each login replaces it.
CREATE TABLE IF NOT EXISTS known_devices (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    token TEXT UNIQUE NOT NULL,
    used_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_known_devices_user_id ON known_devices(user_id);

-- Refusals of one hour that are alike are one row, with how many they were, and when the last one was.
ALTER TABLE audit_log
    ADD COLUMN IF NOT EXISTS count INTEGER NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS last_at TIMESTAMPTZ DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS alike TEXT DEFAULT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS idx_audit_log_alike ON audit_log(alike);
CREATE INDEX IF NOT EXISTS idx_audit_log_actor ON audit_log(actor, at);

-- The photo that a kept answer tells of: it goes with that.
ALTER TABLE idempotent_requests
    ADD COLUMN IF NOT EXISTS photo_id INTEGER DEFAULT NULL REFERENCES photos(id) ON DELETE CASCADE;
CREATE INDEX IF NOT EXISTS idx_idempotent_requests_photo_id ON idempotent_requests(photo_id);

-- is_gallery_owner()
-- Whether the session is of the role that owns the tables, or of one that has its rights. Not current_user, which in the
-- functions below is always the owner.
CREATE OR REPLACE FUNCTION is_gallery_owner()
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = 'users'::regclass), 'USAGE');
END;
$$;

-- has_authority(secret)
-- Whether this is the SHA-256 of an administrator's token, of a login with a password, or of a key with the scope admin; the owner
-- needs none. The service's role can read neither tokens nor keys, so that it has one only from a request.
CREATE OR REPLACE FUNCTION has_authority(secret TEXT)
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN is_gallery_owner()
        OR EXISTS (
            SELECT FROM auth_tokens t
            JOIN administrators a ON a.user_id = t.user_id
            WHERE t.token = secret
                AND t.is_active
                AND t.password_given
                AND (t.expires_at IS NULL OR t.expires_at > LOCALTIMESTAMP)
        )
        OR EXISTS (SELECT FROM api_keys k WHERE k.key = secret AND k.revoked_at IS NULL AND 'admin' = ANY (k.scopes));
END;
$$;

-- require_authority(secret)
-- An error without it.
CREATE OR REPLACE FUNCTION require_authority(secret TEXT)
RETURNS VOID
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT coalesce(has_authority(secret), FALSE) THEN
        RAISE EXCEPTION 'only an administrator, or the owner of the gallery, may do this'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END;
$$;

-- find_session(token_sha256)
-- Whose token it is, if it has not ended.
CREATE OR REPLACE FUNCTION find_session(token_sha256 TEXT)
RETURNS TABLE(
    id INTEGER, user_id INTEGER, name VARCHAR, email VARCHAR, confidence REAL, password_given BOOLEAN,
    created_at TIMESTAMP, expires_at TIMESTAMP
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
        SELECT t.id, t.user_id, u.name, u.email, t.confidence, t.password_given IS TRUE, t.created_at, t.expires_at
        FROM auth_tokens t
        JOIN users u ON u.id = t.user_id
        WHERE t.token = token_sha256
            AND t.is_active
            AND (t.expires_at IS NULL OR t.expires_at > LOCALTIMESTAMP);
END;
$$;

-- begin_session(user_id, token_sha256, confidence, password_given, proof, seconds)
-- Begin a login. One with a password needs a proof: the hash of that password as it is stored, which the service's role cannot read.
-- The owner needs none. One by face alone is no administrator's. It ends in the server's time zone, as the specification's
-- column defaults are.
CREATE OR REPLACE FUNCTION begin_session(
    of_user INTEGER, token_sha256 TEXT, confidence REAL, password_given BOOLEAN, proof TEXT, seconds FLOAT
)
RETURNS TIMESTAMP
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    ends TIMESTAMP;
BEGIN
    IF token_sha256 IS NULL OR token_sha256 !~ '^[0-9a-f]{64}$' OR seconds > 366 * 24 * 3600.0 THEN
        RAISE EXCEPTION 'a login needs the SHA-256 of its token, and ends within a year'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF password_given
        AND NOT is_gallery_owner()
        AND NOT EXISTS (SELECT FROM users u WHERE u.id = of_user AND u.password = proof AND blank_password(proof) <> '')
    THEN
        RAISE EXCEPTION 'a login with a password needs that password' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO auth_tokens (user_id, token, confidence, password_given, expires_at, is_active)
    VALUES (
        of_user, token_sha256, begin_session.confidence, coalesce(begin_session.password_given, FALSE),
        LOCALTIMESTAMP + make_interval(secs => seconds), TRUE
    )
    RETURNING expires_at INTO ends;
    RETURN ends;
END;
$$;

-- end_sessions(user_id, session_id, token_sha256, but_sha256)
-- End logins: of a user, with an id or all but one, or the one with a token. Returns whose they were. None begins anew.
CREATE OR REPLACE FUNCTION end_sessions(of_user INTEGER, session_id INTEGER, token_sha256 TEXT, but_sha256 TEXT)
RETURNS SETOF INTEGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
        UPDATE auth_tokens t
        SET is_active = FALSE
        WHERE t.is_active
            AND (of_user IS NOT NULL OR token_sha256 IS NOT NULL)
            AND (of_user IS NULL OR t.user_id = of_user)
            AND (session_id IS NULL OR t.id = session_id)
            AND (token_sha256 IS NULL OR t.token = token_sha256)
            AND t.token IS DISTINCT FROM but_sha256
        RETURNING t.user_id;
END;
$$;

-- blank_password(hash)
-- A hash with its salt and costs and without its digest: enough to compute it from a password, and nothing to compare it with.
-- Empty for what is no hash, so that a password in clear is not told to any role.
CREATE OR REPLACE FUNCTION blank_password(hash TEXT)
RETURNS TEXT
LANGUAGE plpgsql IMMUTABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE
        WHEN hash ~ '^\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}$' THEN left(hash, 29) || repeat('.', 31)
        WHEN hash ~ '^\$argon2[id]+\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[^$]+\$[A-Za-z0-9+/]{16,}$'
            THEN substring(hash FROM '^.*\$') || repeat('A', length(substring(hash FROM '[^$]*$')))
        WHEN hash ~ '^(scrypt|pbkdf2):[^$]+\$[^$]*\$[0-9a-f]{16,}$'
            THEN substring(hash FROM '^.*\$') || repeat('0', length(substring(hash FROM '[^$]*$')))
        ELSE ''
    END;
END;
$$;

-- find_password(spellings)
-- Whose e-mail it is, and how their password is hashed.
CREATE OR REPLACE FUNCTION find_password(spellings TEXT[])
RETURNS TABLE(user_id INTEGER, blank TEXT)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
        SELECT u.id, blank_password(u.password)
        FROM users u
        WHERE lower(u.email) = ANY (spellings)
        ORDER BY u.id
        LIMIT 1;
END;
$$;

-- confirm_password(user_id, proofs)
-- Which of these is the hash of the user's password, and NULL if none is. The password stays until the transaction ends.
CREATE OR REPLACE FUNCTION confirm_password(of_user INTEGER, proofs TEXT[])
RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    stored TEXT;
BEGIN
    SELECT u.password INTO stored FROM users u WHERE u.id = of_user FOR NO KEY UPDATE;
    RETURN CASE WHEN stored = ANY (proofs) AND blank_password(stored) <> '' THEN stored END;
END;
$$;

-- set_password(user_id, hash, proof, authority)
-- Give a user another password: who knows the one that there is, an administrator, or the owner.
CREATE OR REPLACE FUNCTION set_password(of_user INTEGER, hash TEXT, proof TEXT, authority TEXT)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT is_gallery_owner() AND blank_password(hash) = '' THEN
        RAISE EXCEPTION 'this is no hash of a password' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF proof IS NULL OR confirm_password(of_user, ARRAY[proof]) IS NULL THEN
        PERFORM require_authority(authority);
    END IF;
    UPDATE users u SET password = hash WHERE u.id = of_user;
END;
$$;

-- password_kinds(but)
-- How the hashes of users begin, which tells their kind and their costs, but for those of one kind. Regular expressions
-- would take half a minute for a million users.
CREATE OR REPLACE FUNCTION password_kinds(but TEXT)
RETURNS SETOF TEXT
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
        SELECT DISTINCT
            CASE
                WHEN u.password LIKE '$2%' THEN left(u.password, 6)
                WHEN u.password LIKE '$argon2%' THEN concat(
                    '$', split_part(u.password, '$', 2), '$', split_part(u.password, '$', 3), '$',
                    split_part(u.password, '$', 4)
                )
                ELSE split_part(u.password, '$', 1)
            END
        FROM users u
        WHERE NOT starts_with(u.password, but)
            AND (
                (u.password LIKE '$2%' AND blank_password(u.password) <> '')
                OR u.password LIKE '$argon2%$%$%$%$%'
                OR u.password LIKE 'scrypt:%$%$%'
                OR u.password LIKE 'pbkdf2:%$%$%'
            );
END;
$$;

-- has_password(user_id)
-- Whether a user can log in by a password.
CREATE OR REPLACE FUNCTION has_password(of_user INTEGER)
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM users u WHERE u.id = of_user AND u.password <> '!');
END;
$$;

-- find_api_key(key_sha256)
-- What a key may do, unless it was revoked. When it was used is kept to the minute, so that a busy key does not write at each request.
CREATE OR REPLACE FUNCTION find_api_key(key_sha256 TEXT)
RETURNS TABLE(
    id INTEGER, name TEXT, scopes TEXT[], created_at TIMESTAMPTZ, last_used_at TIMESTAMPTZ, revoked_at TIMESTAMPTZ
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE api_keys k
    SET last_used_at = now()
    WHERE k.key = key_sha256
        AND k.revoked_at IS NULL
        AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
    RETURN QUERY
        SELECT k.id, k.name, k.scopes, k.created_at, k.last_used_at, k.revoked_at
        FROM api_keys k
        WHERE k.key = key_sha256
            AND k.revoked_at IS NULL;
END;
$$;

-- create_api_key(name, key_sha256, scopes, authority)
CREATE OR REPLACE FUNCTION create_api_key(key_name TEXT, key_sha256 TEXT, key_scopes TEXT[], authority TEXT)
RETURNS TABLE(
    id INTEGER, name TEXT, scopes TEXT[], created_at TIMESTAMPTZ, last_used_at TIMESTAMPTZ, revoked_at TIMESTAMPTZ
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    PERFORM require_authority(authority);
    RETURN QUERY
        INSERT INTO api_keys (name, key, scopes)
        VALUES (key_name, key_sha256, key_scopes)
        RETURNING id, name, scopes, created_at, last_used_at, revoked_at;
END;
$$;

-- revoke_api_key(key_id, authority)
-- Its id, or NULL where there is none that opens anything.
CREATE OR REPLACE FUNCTION revoke_api_key(key_id INTEGER, authority TEXT)
RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    revoked INTEGER;
BEGIN
    PERFORM require_authority(authority);
    UPDATE api_keys k SET revoked_at = now() WHERE k.id = key_id AND k.revoked_at IS NULL RETURNING k.id INTO revoked;
    RETURN revoked;
END;
$$;

-- record_event(event, refused, actor, user_id, key_id, address, similarity)
-- Add a row to the audit log. Its time is now. Only the owner can tell of what only the owner does.
--
-- Strangers can have something refused as often as they like. What is alike within an hour (event, reason, account, network) is
-- one row; beyond a thousand such rows an hour, those of all accounts and networks are. The same goes for what one person does
-- more than a hundred times an hour.
CREATE OR REPLACE FUNCTION record_event(
    event TEXT, refused TEXT, actor TEXT, of_user INTEGER, of_key INTEGER, from_address INET, similarity REAL
)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
#variable_conflict use_variable
DECLARE
    most_refused CONSTANT INTEGER := 1000;
    most_of_one CONSTANT INTEGER := 100;
    this_hour TIMESTAMPTZ := date_trunc('hour', clock_timestamp());
    network INET := network(set_masklen(from_address, CASE family(from_address) WHEN 6 THEN 64 ELSE 32 END));
    same TEXT;
    all_together BOOLEAN := FALSE;
BEGIN
    IF event IS NULL OR event !~ '^[a-z]+( [a-z]+){0,3}$' OR length(event) > 40 OR length(refused) > 200
        OR actor !~ '^(command line|(user|key) [0-9]{1,10})$'
        OR (event LIKE 'administrator %' AND NOT is_gallery_owner())
    THEN
        RAISE EXCEPTION 'this is not for the audit log' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF refused IS NULL AND (actor IS NULL OR actor NOT LIKE 'user %' OR most_of_one > (
        SELECT count(*) FROM (
            SELECT FROM audit_log l WHERE l.actor = actor AND l.at >= this_hour LIMIT most_of_one
        ) AS those
    )) THEN
        INSERT INTO audit_log (event, outcome, actor, user_id, key_id, address, similarity)
        VALUES (event, 'done', actor, of_user, of_key, from_address, similarity);
        RETURN;
    END IF;
    same := concat_ws('|', extract(epoch FROM this_hour)::bigint, event, coalesce(refused, 'done'), coalesce(of_user, 0), network);
    IF NOT EXISTS (SELECT FROM audit_log l WHERE l.alike = same) AND most_refused <= (
        SELECT count(*) FROM (SELECT FROM audit_log l WHERE l.alike IS NOT NULL AND l.at >= this_hour LIMIT most_refused) AS those
    ) THEN
        same := concat_ws('|', extract(epoch FROM this_hour)::bigint, event, CASE WHEN refused IS NULL THEN 'done' ELSE 'refused' END);
        refused := CASE WHEN refused IS NOT NULL THEN 'among too many to be told one by one' END;
        all_together := TRUE;
    END IF;
    INSERT INTO audit_log AS l (event, outcome, reason, actor, user_id, key_id, address, similarity, alike)
    VALUES (
        event, CASE WHEN refused IS NULL THEN 'done' ELSE 'refused' END, refused,
        CASE WHEN all_together THEN NULL ELSE actor END, CASE WHEN all_together THEN NULL ELSE of_user END, of_key,
        CASE WHEN all_together THEN NULL ELSE from_address END, CASE WHEN all_together THEN NULL ELSE similarity END, same
    )
    ON CONFLICT (alike) DO UPDATE
    SET count = l.count + 1, last_at = clock_timestamp(), similarity = greatest(l.similarity, EXCLUDED.similarity);
END;
$$;

-- prune_audit_log(days)
-- Remove what is older; returns how many rows. Only the owner removes what is of less than thirty days ago.
CREATE OR REPLACE FUNCTION prune_audit_log(days INTEGER)
RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    removed BIGINT;
BEGIN
    IF days < 30 AND NOT is_gallery_owner() THEN
        RAISE EXCEPTION 'only the owner of the gallery may remove rows of less than 30 days ago'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM audit_log l WHERE coalesce(l.last_at, l.at) < clock_timestamp() - make_interval(days => days);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END;
$$;

-- `pgface roles create` lets the service call them; has_authority and what it needs are called by the others alone.
REVOKE EXECUTE ON FUNCTION
    is_gallery_owner(), has_authority(TEXT), require_authority(TEXT), find_session(TEXT),
    begin_session(INTEGER, TEXT, REAL, BOOLEAN, TEXT, FLOAT), end_sessions(INTEGER, INTEGER, TEXT, TEXT),
    blank_password(TEXT), find_password(TEXT[]), confirm_password(INTEGER, TEXT[]),
    set_password(INTEGER, TEXT, TEXT, TEXT), password_kinds(TEXT), has_password(INTEGER), find_api_key(TEXT),
    create_api_key(TEXT, TEXT, TEXT[], TEXT), revoke_api_key(INTEGER, TEXT),
    record_event(TEXT, TEXT, TEXT, INTEGER, INTEGER, INET, REAL), prune_audit_log(INTEGER)
FROM PUBLIC;
