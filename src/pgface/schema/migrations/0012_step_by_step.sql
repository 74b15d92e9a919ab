-- Logins by face that are asked for step by step.

-- What is under way: of the token only the SHA-256 is kept, and the state is encrypted with a key that is made from the token, so
-- that neither this table nor a copy of it tells anything. It is not written to the log, not copied to replicas or by
-- `pgface backup`, and empty after a crash: people then begin again.
CREATE UNLOGGED TABLE IF NOT EXISTS login_challenges (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    -- Small pictures that were looked at to tell somebody how to stand.
    hints INTEGER NOT NULL DEFAULT 0,
    state BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_login_challenges_ends_at ON login_challenges(ends_at);
DROP TABLE IF EXISTS used_challenges;

-- Digests of the frames of logins by face, so that none is accepted again: of pixels, and of embeddings (keyed hashes).
-- A row for each login.
CREATE TABLE IF NOT EXISTS used_frames (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    digests BIGINT[] NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_used_frames_user_id ON used_frames(user_id);
CREATE INDEX IF NOT EXISTS idx_used_frames_digests ON used_frames USING gin (digests);

-- They go with the last embedding of their user, whoever deletes it; or they move with a user's face to another user.
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
        AND NOT EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = f.user_id);
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
