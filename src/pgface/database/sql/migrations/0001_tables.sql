-- The specification's tables and indexes. All of it can be run on a database that the specification's own
-- script has filled: what is there stays.

CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    email VARCHAR(255) UNIQUE NOT NULL,
    password VARCHAR(255) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX IF NOT EXISTS idx_users_email ON users(email);

CREATE TABLE IF NOT EXISTS photos (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    filename VARCHAR(255) NOT NULL,
    filepath TEXT NOT NULL,
    width INTEGER DEFAULT 224,
    height INTEGER DEFAULT 224,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS idx_photos_user_id ON photos(user_id);

CREATE TABLE IF NOT EXISTS auth_tokens (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    token VARCHAR(255) UNIQUE NOT NULL,
    confidence REAL NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expires_at TIMESTAMP,
    is_active BOOLEAN DEFAULT TRUE,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS idx_auth_tokens_token ON auth_tokens(token);
CREATE INDEX IF NOT EXISTS idx_auth_tokens_user_id ON auth_tokens(user_id);
CREATE INDEX IF NOT EXISTS idx_auth_tokens_active ON auth_tokens(is_active) WHERE is_active = TRUE;

CREATE TABLE IF NOT EXISTS face_embeddings (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    photo_id INTEGER,
    embedding vector(512) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE,
    FOREIGN KEY (photo_id) REFERENCES photos(id) ON DELETE SET NULL
);

CREATE INDEX IF NOT EXISTS idx_embeddings_user_id ON face_embeddings(user_id);

-- Without it every deleted photo would be looked for in the whole of face_embeddings (ON DELETE SET NULL).
CREATE INDEX IF NOT EXISTS idx_embeddings_photo_id ON face_embeddings(photo_id);

-- An embedding is 2,056 bytes, and PostgreSQL moves rows over 2 kB out of line. Kept in the row, an exact scan
-- of 100,000 faces is 4 to 6 times faster.
ALTER TABLE face_embeddings ALTER COLUMN embedding SET STORAGE PLAIN;

-- HNSW, because it needs no data to learn from: an IVFFlat index made on an empty table finds the right person
-- for under half of the probes later on. It serves queries that order by distance; the functions scan exactly.
CREATE INDEX IF NOT EXISTS idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops);

-- A zero vector has no cosine: its similarity is NaN, which sorts above every number, so that one such row would be
-- everybody's best match. A vector near the ends of what a float holds loses its bits in the cosine's sums, and matches
-- people by chance. (The type itself refuses NaN and infinity; vector_norm sums in double precision.)
DO $$
DECLARE
    without_cosine bigint;
BEGIN
    IF EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'face_embeddings'::regclass
            AND conname = 'embedding_has_a_cosine_so_it_is_not_zero_or_nan'
    ) THEN
        RETURN;
    END IF;
    SELECT count(*) INTO without_cosine
    FROM face_embeddings
    WHERE NOT vector_norm(embedding) BETWEEN 1e-15 AND 1e15;
    IF without_cosine > 0 THEN
        RAISE EXCEPTION '% embeddings are zero vectors, which have no cosine and would match everybody; remove '
            'them first: DELETE FROM face_embeddings WHERE NOT vector_norm(embedding) BETWEEN 1e-15 AND 1e15',
            without_cosine
            USING ERRCODE = 'check_violation';
    END IF;
    ALTER TABLE face_embeddings ADD CONSTRAINT embedding_has_a_cosine_so_it_is_not_zero_or_nan
        CHECK (vector_norm(embedding) BETWEEN 1e-15 AND 1e15);
END
$$;

CREATE OR REPLACE FUNCTION update_updated_at_column()
RETURNS TRIGGER
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER update_face_embeddings_updated_at
BEFORE UPDATE ON face_embeddings
FOR EACH ROW
EXECUTE FUNCTION update_updated_at_column();
