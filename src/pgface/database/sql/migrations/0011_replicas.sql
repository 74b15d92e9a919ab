-- Keys can be checked on a replica, which cannot record when they were used.
CREATE OR REPLACE FUNCTION find_api_key(key_sha256 TEXT)
RETURNS TABLE(
    id INTEGER, name TEXT, scopes TEXT[], created_at TIMESTAMPTZ, last_used_at TIMESTAMPTZ, revoked_at TIMESTAMPTZ
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT pg_is_in_recovery() THEN
        UPDATE api_keys k
        SET last_used_at = now()
        WHERE k.key = key_sha256
            AND k.revoked_at IS NULL
            AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute');
    END IF;
    RETURN QUERY
        SELECT k.id, k.name, k.scopes, k.created_at, k.last_used_at, k.revoked_at
        FROM api_keys k
        WHERE k.key = key_sha256
            AND k.revoked_at IS NULL;
END;
$$;

COMMENT ON FUNCTION find_api_key(text) IS
    'The key and its scopes, unless it is revoked. Records the time of use, at most once a minute, and not on a replica.';
