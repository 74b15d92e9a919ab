-- Access keys for AWS SDKs, the tags of a gallery, liveness sessions, and what an answer about an indexed face needs.

-- A client signs its requests with the secret of its key, so the service needs that secret. It is encrypted, and the key of that
-- encryption is not in the database. The row of api_keys has the name, the scopes, and the SHA-256 of the secret.
CREATE TABLE IF NOT EXISTS access_keys (
    access_key_id TEXT PRIMARY KEY CHECK (access_key_id ~ '^[A-Z0-9]{20}$'),
    key_id INTEGER UNIQUE NOT NULL REFERENCES api_keys(id) ON DELETE CASCADE,
    encrypted_secret BYTEA NOT NULL
);

CREATE OR REPLACE FUNCTION add_access_key(new_id TEXT, of_key INTEGER, encrypted BYTEA, authority TEXT)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM require_authority(authority);
    INSERT INTO access_keys (access_key_id, key_id, encrypted_secret) VALUES (new_id, of_key, encrypted);
END;
$$;

COMMENT ON FUNCTION add_access_key(text, integer, bytea, text) IS
    'Internal: makes a key usable by AWS SDKs. It needs the authority of an administrator or the owner.';

CREATE OR REPLACE FUNCTION find_access_key(of_id TEXT)
RETURNS TABLE(
    id INTEGER, name TEXT, scopes TEXT[], created_at TIMESTAMPTZ, last_used_at TIMESTAMPTZ, revoked_at TIMESTAMPTZ,
    all_galleries BOOLEAN, encrypted_secret BYTEA
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
        SELECT k.id, k.name, k.scopes, k.created_at, k.last_used_at, k.revoked_at, k.all_galleries, a.encrypted_secret
        FROM access_keys a
        JOIN api_keys k ON k.id = a.key_id
        WHERE a.access_key_id = of_id
            AND k.revoked_at IS NULL
            AND k.all_galleries;
END;
$$;

COMMENT ON FUNCTION find_access_key(text) IS
    'Internal: the key with this access key id and its encrypted secret, unless it is revoked. It does not record the time of use.';

REVOKE EXECUTE ON FUNCTION add_access_key(TEXT, INTEGER, BYTEA, TEXT), find_access_key(TEXT) FROM PUBLIC;

-- Labels of the whole gallery, which programs read and set.
CREATE TABLE IF NOT EXISTS gallery_tags (
    key TEXT PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 128),
    value TEXT NOT NULL CHECK (length(value) <= 256)
);

-- Liveness sessions of programs. As in login_challenges, the state is encrypted with a key that is made from the id of the
-- session, and only the SHA-256 of that id is stored. The state is NULL while a request checks frames, and after the end.
CREATE UNLOGGED TABLE IF NOT EXISTS liveness_sessions (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    status TEXT NOT NULL DEFAULT 'CREATED' CHECK (status IN ('CREATED', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED')),
    hints INTEGER NOT NULL DEFAULT 0,
    state BYTEA
);

CREATE INDEX IF NOT EXISTS idx_liveness_sessions_ends_at ON liveness_sessions(ends_at);

-- Keyed hashes of the frames of liveness sessions, as in used_frames. They belong to no user, so they are kept for a day.
CREATE UNLOGGED TABLE IF NOT EXISTS liveness_frames (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    digests BIGINT[] NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_liveness_frames_ends_at ON liveness_frames(ends_at);
CREATE INDEX IF NOT EXISTS idx_liveness_frames_digests ON liveness_frames USING gin (digests);

CREATE OR REPLACE FUNCTION person_key(user_id INTEGER, external_id TEXT, is_person BOOLEAN)
RETURNS TEXT
LANGUAGE plpgsql IMMUTABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE
        WHEN NOT is_person THEN NULL
        WHEN external_id ~ '^[a-zA-Z0-9_.:-]{1,128}$' AND NOT starts_with(external_id, 'pgface:') THEN external_id
        ELSE 'pgface:' || user_id
    END;
END;
$$;

COMMENT ON FUNCTION person_key(integer, text, boolean) IS
    'Internal: the id of a person for programs that were written for Amazon Rekognition. It is the external id, if that has only '
    'their characters, or else "pgface:" and the id. NULL for a face without a person.';
