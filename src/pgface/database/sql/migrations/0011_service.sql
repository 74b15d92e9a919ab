-- What the web service keeps: who looks after the gallery, and answers that a client may ask for again.

-- They see everybody's data in the web pages. The gallery's owner says who it is; the service's role only reads it.
CREATE TABLE IF NOT EXISTS administrators (
    user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
    since TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- A login by face alone opens less than one with a password, whatever is asked for later.
ALTER TABLE auth_tokens ADD COLUMN IF NOT EXISTS password_given BOOLEAN DEFAULT FALSE;

-- Requests with an Idempotency-Key, for a day. A row without an answer is a request under way, or one whose process died.
CREATE TABLE IF NOT EXISTS idempotent_requests (
    caller TEXT NOT NULL,
    -- Of the client's key and of what it asked for, only the SHA-256.
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    status INTEGER,
    answer JSONB,
    -- Whom the answer tells of: it goes when they are erased.
    user_id INTEGER REFERENCES users(id) ON DELETE CASCADE,
    PRIMARY KEY (caller, key)
);
CREATE INDEX IF NOT EXISTS idx_idempotent_requests_started_at ON idempotent_requests(started_at);
CREATE INDEX IF NOT EXISTS idx_idempotent_requests_user_id ON idempotent_requests(user_id);
