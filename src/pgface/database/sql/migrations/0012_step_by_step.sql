-- Logins by face that are asked for step by step.

-- What is under way: of the token only the SHA-256 is kept, and the state is encrypted with a key that is made from the token, so
-- that neither this table nor a copy of it tells anything. It is not written to the log, not copied to replicas or by
-- `pgface backup`, and empty after a crash: people then begin again.
CREATE UNLOGGED TABLE IF NOT EXISTS login_challenges (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    -- Small pictures that were looked at to tell a person how to stand.
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
