-- Accounts: attempts to log in that failed, what happened, and the keys of programs.

-- Failed attempts to log in, so that limits hold over all processes. A subject is an account or an address, and never in
-- clear: also e-mails that nobody has are counted, so that nobody learns from it who has an account.
CREATE TABLE IF NOT EXISTS login_attempts (
    subject TEXT NOT NULL,
    method TEXT NOT NULL CHECK (method IN ('password', 'face')),
    failures INTEGER NOT NULL,
    last_failure TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (subject, method)
);
CREATE INDEX IF NOT EXISTS idx_login_attempts_last_failure ON login_attempts(last_failure);

-- Who did what, when, from where, and with which outcome. No name, no e-mail, no image and no embedding. Users are numbers, and
-- rows stay when a user is erased. The service's role can add rows, and neither change nor remove any.
CREATE TABLE IF NOT EXISTS audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    event TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
    reason TEXT,
    actor TEXT,
    user_id INTEGER,
    key_id INTEGER,
    address INET,
    similarity REAL
);
CREATE INDEX IF NOT EXISTS idx_audit_log_at ON audit_log(at);
CREATE INDEX IF NOT EXISTS idx_audit_log_user_id ON audit_log(user_id, id);

-- Of a key only its SHA-256 is kept: it is random and long.
CREATE TABLE IF NOT EXISTS api_keys (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT UNIQUE NOT NULL,
    scopes TEXT[] NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);

-- Tokens that have ended are looked for by it.
CREATE INDEX IF NOT EXISTS idx_auth_tokens_expires_at ON auth_tokens(expires_at);

-- Challenges of logins by face that were answered, until they end: each is answered once.
CREATE TABLE IF NOT EXISTS used_challenges (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL
);

-- What the service signs with, so that any of its processes knows what another one has handed out.
CREATE TABLE IF NOT EXISTS service_secrets (
    name TEXT PRIMARY KEY,
    secret TEXT NOT NULL
);
