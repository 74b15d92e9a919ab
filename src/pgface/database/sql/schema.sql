-- The gallery of pgface: face recognition with pgvector. The script makes it in the first schema of the search_path. It can run
-- again without harm.
--
--   1. Tables, each with its indexes
--   2. API: functions for every client
--   3. API of the service's role
--   4. Internal functions
--   5. Triggers, each with its internal function
--   6. Rights
--
-- After you load many embeddings by SQL, run CALL fit_search(). It makes the search fast and reports how exact it is.
-- \df+ describes each function.

-- Loads pgvector's library, so that PostgreSQL accepts its settings in the functions below.
DO $$ BEGIN PERFORM '[1]'::vector; END $$;

-- ================================================
-- 1. TABLES, each with its indexes
-- ================================================

-- The people, called users.
CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    email VARCHAR(255) UNIQUE NOT NULL,
    -- A hash, or '!' for a user without a password.
    password VARCHAR(255) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX IF NOT EXISTS idx_users_email ON users(email);
CREATE INDEX IF NOT EXISTS idx_users_lower_email ON users(lower(email));

CREATE TABLE IF NOT EXISTS photos (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    filename VARCHAR(255) NOT NULL,
    -- Relative to the photos folder. Paths that pgface writes start with the gallery's id.
    filepath TEXT NOT NULL,
    width INTEGER DEFAULT 224,
    height INTEGER DEFAULT 224,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    -- Hexadecimal SHA-256 of the original file. A user has each photo once.
    content_sha256 TEXT DEFAULT NULL,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS idx_photos_user_id ON photos(user_id);
CREATE UNIQUE INDEX IF NOT EXISTS idx_photos_user_content ON photos(user_id, content_sha256);

-- Login sessions. pgface stores the SHA-256 of a token, and never the token itself.
CREATE TABLE IF NOT EXISTS auth_tokens (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    token VARCHAR(255) UNIQUE NOT NULL,
    confidence REAL NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expires_at TIMESTAMP,
    is_active BOOLEAN DEFAULT TRUE,
    -- A login by face alone has fewer rights than a login with a password.
    password_given BOOLEAN DEFAULT FALSE,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS idx_auth_tokens_token ON auth_tokens(token);
CREATE INDEX IF NOT EXISTS idx_auth_tokens_user_id ON auth_tokens(user_id);
CREATE INDEX IF NOT EXISTS idx_auth_tokens_active ON auth_tokens(is_active) WHERE is_active = TRUE;
CREATE INDEX IF NOT EXISTS idx_auth_tokens_expires_at ON auth_tokens(expires_at);

CREATE TABLE IF NOT EXISTS face_embeddings (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    photo_id INTEGER,
    -- 2,056 bytes, and PostgreSQL moves values of rows over 2 kB out of the row. STORAGE PLAIN keeps them in the row, which
    -- makes an exact scan of 100,000 faces 4 to 6 times faster.
    embedding vector(512) STORAGE PLAIN NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    -- Measurements at enrollment: the detector's score, the face's box in pixels of the photo, and the face's quality. Each is a
    -- number, because PostgreSQL would move values of variable length out of these 2 kB rows.
    detection_score REAL DEFAULT NULL,
    box_x REAL DEFAULT NULL,
    box_y REAL DEFAULT NULL,
    box_width REAL DEFAULT NULL,
    box_height REAL DEFAULT NULL,
    sharpness REAL DEFAULT NULL,
    brightness REAL DEFAULT NULL,
    yaw REAL DEFAULT NULL,
    pitch REAL DEFAULT NULL,
    roll REAL DEFAULT NULL,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE,
    FOREIGN KEY (photo_id) REFERENCES photos(id) ON DELETE SET NULL,
    -- The similarity of a zero vector is NaN, which PostgreSQL sorts above every number: such a row would match every probe.
    -- A vector near the limits of a float loses precision in the sums of the cosine and matches people by chance. The vector
    -- type itself refuses NaN and infinity. vector_norm() sums in double precision.
    CONSTRAINT embedding_has_a_cosine_so_it_is_not_zero_or_nan CHECK (vector_norm(embedding) BETWEEN 1e-15 AND 1e15)
);

CREATE INDEX IF NOT EXISTS idx_embeddings_user_id ON face_embeddings(user_id);

-- For ON DELETE SET NULL: without this index, deleting a photo scans face_embeddings.
CREATE INDEX IF NOT EXISTS idx_embeddings_photo_id ON face_embeddings(photo_id);

-- For your own queries that order by distance. The functions below do not use it. It is HNSW, because HNSW learns nothing from
-- the data: an IVFFlat index made on an empty table later finds the right person for less than half of the probes.
CREATE INDEX IF NOT EXISTS idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops);

-- Contested faces: users enrolled them themselves, but the gallery identifies them as another user. Verification compares them.
-- Identification ignores them until an administrator accepts them. Their ids come from the sequence of face_embeddings, so that
-- an id does not reveal which faces are contested.
CREATE TABLE IF NOT EXISTS contested_faces (
    id INTEGER PRIMARY KEY DEFAULT nextval('face_embeddings_id_seq'),
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    photo_id INTEGER NOT NULL REFERENCES photos(id) ON DELETE CASCADE,
    embedding vector(512) STORAGE PLAIN NOT NULL,
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

CREATE INDEX IF NOT EXISTS idx_contested_faces_user_id ON contested_faces(user_id);
CREATE INDEX IF NOT EXISTS idx_contested_faces_photo_id ON contested_faces(photo_id);

-- The gallery, one row: the model of all embeddings, and the thresholds. A gallery without a model has the specification's
-- thresholds.
CREATE TABLE IF NOT EXISTS gallery (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    model_name TEXT,
    dimension INTEGER NOT NULL DEFAULT 512,
    detector_size INTEGER,
    weights_sha256 TEXT,
    verify_threshold FLOAT NOT NULL DEFAULT 0.7,
    identify_threshold FLOAT NOT NULL DEFAULT 0.7,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

INSERT INTO gallery DEFAULT VALUES ON CONFLICT DO NOTHING;

-- The planner assumes that a table without statistics has ten pages. It would then plan every prepared call of verify_face
-- again.
ANALYZE gallery;

-- The confidence scale of the gallery's model, 0 to 100. One pair of strangers in 1,000, 10,000, 100,000 and 1,000,000 reaches a
-- confidence of 80, 90, 95 and 99.
CREATE TABLE IF NOT EXISTS confidence_anchors (
    similarity FLOAT PRIMARY KEY,
    confidence FLOAT NOT NULL,
    fmr FLOAT NOT NULL,
    extrapolated BOOLEAN NOT NULL
);

-- The thresholds that calibrations have set, one row each. pgface uses only rows of the gallery's present model.
CREATE TABLE IF NOT EXISTS calibrations (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    calibrated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    kind TEXT NOT NULL CHECK (kind IN ('verify', 'identify')),
    threshold FLOAT NOT NULL,
    -- The estimated threshold for the target, with its 95 % interval. The threshold that was set is the upper end of the
    -- interval or higher.
    threshold_likely FLOAT NOT NULL,
    threshold_low FLOAT NOT NULL,
    threshold_high FLOAT NOT NULL,
    threshold_before FLOAT NOT NULL,
    -- The FMR of verify or the FPIR of identify: the target, and the rate at the threshold with its 95 % interval.
    target FLOAT NOT NULL,
    rate FLOAT NOT NULL,
    rate_low FLOAT NOT NULL,
    rate_high FLOAT NOT NULL,
    -- Whether the rate was extrapolated from the tail of the similarities, because there were too few comparisons to count.
    extrapolated BOOLEAN NOT NULL,
    -- The FNMR of verify or the FNIR of identify. NULL if only the number of people changed, without a new measurement.
    miss_rate FLOAT,
    miss_rate_low FLOAT,
    miss_rate_high FLOAT,
    -- For identify: the number of enrolled people, and the tail that gives the threshold for other numbers.
    people_enrolled INTEGER,
    tail_start FLOAT,
    tail_share FLOAT,
    tail_scale FLOAT,
    tail_shape FLOAT,
    -- The photos of the measurement.
    source TEXT NOT NULL,
    people INTEGER NOT NULL,
    photos INTEGER NOT NULL,
    failures_to_enroll INTEGER NOT NULL,
    mated_pairs BIGINT NOT NULL,
    non_mated_pairs BIGINT NOT NULL,
    model_name TEXT NOT NULL,
    detector_size INTEGER,
    weights_sha256 TEXT
);

-- A user's template: the normalized mean of their embeddings, or several means if the embeddings differ too much. Templates are
-- biometric data, so triggers delete them together with the embeddings.
CREATE TABLE IF NOT EXISTS user_templates (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL,
    template halfvec(512) NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS idx_user_templates_user_id ON user_templates(user_id);

-- The sign of each dimension of each template. The table is narrow, because searches read all of it.
CREATE TABLE IF NOT EXISTS template_bits (
    template_id BIGINT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    bits bit(512) NOT NULL,
    FOREIGN KEY (template_id) REFERENCES user_templates(id) ON DELETE CASCADE
);

-- Users whose embeddings changed after their templates were made. Every search compares them exactly until refresh_templates()
-- has made their templates, so that a face is found as soon as it is enrolled. A user may have several rows: enrollments only
-- add rows and never wait for one another.
CREATE TABLE IF NOT EXISTS stale_templates (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL
);

-- ANALYZE would copy embeddings into PostgreSQL's statistics, where they would outlive the rows that they come from.
DO $$
BEGIN
    ALTER TABLE face_embeddings ALTER COLUMN embedding SET STATISTICS 0;
    ALTER TABLE user_templates ALTER COLUMN template SET STATISTICS 0;
    ALTER TABLE template_bits ALTER COLUMN bits SET STATISTICS 0;
EXCEPTION WHEN feature_not_supported THEN
    -- A distributed PostgreSQL may refuse this on distributed tables.
    RAISE WARNING 'this server keeps statistics of embeddings. Set STATISTICS 0 on each node (%)', SQLERRM;
END
$$;

-- The search of identification, one row: the chosen method, the method in use, and the measurements.
CREATE TABLE IF NOT EXISTS gallery_search (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    choice TEXT NOT NULL DEFAULT 'auto' CHECK (choice IN ('auto', 'exact', 'hnsw', 'hnsw_binary', 'ivfflat')),
    method TEXT NOT NULL DEFAULT 'exact' CHECK (method IN ('exact', 'hnsw', 'hnsw_binary', 'ivfflat')),
    -- hnsw.ef_search or ivfflat.probes of the first look. NULL while there is no index. Then every template is compared.
    first_effort INTEGER,
    -- The number of templates that the second look proposes.
    second_effort INTEGER,
    -- The similarity that one stranger in 1,000 reaches. A match above it needs no second look.
    certain_similarity FLOAT,
    -- Share of probes for which the index and the exact scan found the same person, with its 95 % interval.
    agreement FLOAT,
    agreement_low FLOAT,
    agreement_high FLOAT,
    probes INTEGER,
    -- When the method was last chosen: the milliseconds of an exact scan, the gallery's size, and PostgreSQL's count of changed
    -- rows.
    scan_ms FLOAT,
    embeddings BIGINT NOT NULL DEFAULT 0,
    changes BIGINT NOT NULL DEFAULT 0,
    chosen_at TIMESTAMPTZ,
    -- Whether pgface keeps idx_embeddings_vector in a gallery that it scans exactly. `pgface index build --method exact` clears
    -- this, and then pgface does not build the index again.
    vector_index_wanted BOOLEAN NOT NULL DEFAULT TRUE
);

INSERT INTO gallery_search DEFAULT VALUES ON CONFLICT DO NOTHING;

-- See gallery above.
ANALYZE gallery_search;

-- Files of deleted photos that pgface still has to delete. Triggers on photos add the rows.
CREATE TABLE IF NOT EXISTS deleted_photo_files (
    filepath TEXT PRIMARY KEY,
    deleted_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Locks that last for a transaction are row locks on this table. A role that may not write the table cannot take one, whereas
-- every role that can connect can take an advisory lock. The lock 'index' lasts longer: its row names the server process that
-- holds it.
CREATE TABLE IF NOT EXISTS gallery_locks (
    name TEXT PRIMARY KEY,
    process INTEGER,
    process_since TIMESTAMPTZ
);

INSERT INTO gallery_locks (name) VALUES ('enrollment'), ('photo files'), ('index') ON CONFLICT DO NOTHING;

-- Users who may see all data in the web pages. The gallery's owner chooses them. The service's role can only read this table.
CREATE TABLE IF NOT EXISTS administrators (
    user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
    since TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Failed logins, so that all processes share the limits. A subject is a digest of an account or an address. Accounts that do not
-- exist are counted as well, so that an attacker does not learn which accounts exist.
CREATE TABLE IF NOT EXISTS login_attempts (
    subject TEXT NOT NULL,
    method TEXT NOT NULL CHECK (method IN ('password', 'face')),
    failures INTEGER NOT NULL,
    last_failure TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (subject, method)
);

CREATE INDEX IF NOT EXISTS idx_login_attempts_last_failure ON login_attempts(last_failure);

-- Browsers that users have logged in with. Failed logins of others do not lock these out. Each login replaces the browser's
-- token. Only its SHA-256 is stored.
CREATE TABLE IF NOT EXISTS known_devices (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    token TEXT UNIQUE NOT NULL,
    used_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS idx_known_devices_user_id ON known_devices(user_id);

-- Running logins by face. The state is encrypted with a key that is made from the token, and only the SHA-256 of the token is
-- stored, so this table and its copies reveal nothing. It is UNLOGGED: not in the write-ahead log, not on replicas, and empty
-- after a crash. `pgface backup` skips it. Users then start their login again.
CREATE UNLOGGED TABLE IF NOT EXISTS login_challenges (
    id TEXT PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    -- Number of small pictures that were analyzed for hints to the user.
    hints INTEGER NOT NULL DEFAULT 0,
    state BYTEA NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_login_challenges_ends_at ON login_challenges(ends_at);

-- Keyed hashes of the frames of logins by face, of their pixels and their embeddings. No frame is accepted twice. One row for
-- each login.
CREATE TABLE IF NOT EXISTS used_frames (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    digests BIGINT[] NOT NULL
);

CREATE INDEX IF NOT EXISTS idx_used_frames_user_id ON used_frames(user_id);
CREATE INDEX IF NOT EXISTS idx_used_frames_digests ON used_frames USING gin (digests);

-- Who did what, when, from where, and with which outcome. It contains no name, e-mail, image or embedding. Users are numbers,
-- and their rows stay when the user is deleted. The service's role adds rows by record_event() and cannot change or delete them.
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
    similarity REAL,
    -- Similar events of one hour share a row: their number, the time of the last one, and the key of the group.
    count INTEGER NOT NULL DEFAULT 1,
    last_at TIMESTAMPTZ DEFAULT NULL,
    alike TEXT DEFAULT NULL
);

CREATE INDEX IF NOT EXISTS idx_audit_log_at ON audit_log(at);
CREATE INDEX IF NOT EXISTS idx_audit_log_user_id ON audit_log(user_id, id);
CREATE INDEX IF NOT EXISTS idx_audit_log_actor ON audit_log(actor, at);
CREATE UNIQUE INDEX IF NOT EXISTS idx_audit_log_alike ON audit_log(alike);

-- Keys of programs. Only the SHA-256 of a key is stored, which is safe because a key is long and random.
CREATE TABLE IF NOT EXISTS api_keys (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT UNIQUE NOT NULL,
    scopes TEXT[] NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);

-- The keys that the service signs with, shared by all its processes.
CREATE TABLE IF NOT EXISTS service_secrets (
    name TEXT PRIMARY KEY,
    secret TEXT NOT NULL
);

-- Requests with an Idempotency-Key, kept for a day. A row without a status is a request that is running, or one whose process
-- died. The client's key and its request are stored as SHA-256.
CREATE TABLE IF NOT EXISTS idempotent_requests (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    status INTEGER,
    answer JSONB,
    -- The user and the photo that the answer is about. Deleting either deletes the answer.
    user_id INTEGER REFERENCES users(id) ON DELETE CASCADE,
    photo_id INTEGER DEFAULT NULL REFERENCES photos(id) ON DELETE CASCADE,
    PRIMARY KEY (caller, key)
);

CREATE INDEX IF NOT EXISTS idx_idempotent_requests_started_at ON idempotent_requests(started_at);
CREATE INDEX IF NOT EXISTS idx_idempotent_requests_user_id ON idempotent_requests(user_id);
CREATE INDEX IF NOT EXISTS idx_idempotent_requests_photo_id ON idempotent_requests(photo_id);

-- ================================================
-- 2. API: functions for every client
-- ================================================
--
-- SET search_path FROM CURRENT binds a function to this gallery. It reads the tables above, whatever the caller's search_path and
-- temporary tables are.
--
-- The columns of a match are repeated in each RETURNS TABLE, in place of one composite type. The specification's script also
-- replaces find_similar_face(), and PostgreSQL refuses to replace a function that has another return type.

-- Two internal functions come first, because verify_face is bound to them when it is made.

CREATE OR REPLACE FUNCTION refuse_zero_vector(norm float)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION 'the query embedding is a zero vector, which has no cosine and would match every user'
        USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Its norm is %s; 1e-15 to 1e15 is accepted.', norm);
END;
$$;

COMMENT ON FUNCTION refuse_zero_vector(float) IS 'Internal: raises the error of require_cosine.';

CREATE OR REPLACE FUNCTION require_cosine(query_embedding vector)
RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE
        WHEN vector_norm(query_embedding) BETWEEN 1e-15 AND 1e15 THEN TRUE
        ELSE refuse_zero_vector(vector_norm(query_embedding))
    END;
END;

COMMENT ON FUNCTION require_cosine(vector) IS
    'Internal: returns true, or raises an error for a probe without a direction. Its similarity to every embedding would be NaN, '
    'which PostgreSQL sorts above every threshold.';

CREATE OR REPLACE FUNCTION find_similar_face(
    query_embedding vector(512),
    similarity_threshold float DEFAULT 0.7
)
RETURNS TABLE(
    user_id INTEGER,
    user_name VARCHAR,
    user_email VARCHAR,
    similarity float,
    embedding_id INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY SELECT * FROM find_similar_faces(query_embedding, similarity_threshold, 1);
END;
$$;

COMMENT ON FUNCTION find_similar_face(vector, float) IS
    'Identifies a face: the best person whose similarity reaches the threshold, or no row. '
    'A threshold of NULL means the gallery''s own for identification.';

-- A small gallery is scanned. A large one is searched through the templates, in two looks. The first look goes through an index.
-- If it finds no certain match, the second look compares the signs of every template. Both looks only propose people. These
-- people, and those with stale templates, are compared exactly, by all of their embeddings.
--
-- A large gallery is also scanned for long lists, while many templates are stale (a bulk load), and for a role that may not read
-- the templates.
CREATE OR REPLACE FUNCTION find_similar_faces(
    query_embedding vector(512),
    similarity_threshold float DEFAULT NULL,
    max_results integer DEFAULT 1
)
RETURNS TABLE(
    user_id INTEGER,
    user_name VARCHAR,
    user_email VARCHAR,
    similarity float,
    embedding_id INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    max_list CONSTANT integer := 50;
    max_stale CONSTANT integer := 1000;
    -- Number of additional users that the first and the second look propose.
    first_spare CONSTANT integer := 2;
    second_spare CONSTANT integer := 20;
    search gallery_search;
    proposed INTEGER[];
    threshold float := coalesce(similarity_threshold, (SELECT g.identify_threshold FROM gallery g));
BEGIN
    SELECT * INTO search FROM gallery_search;
    IF search.method <> 'exact'
        AND query_embedding IS NOT NULL
        AND max_results <= max_list
        AND has_table_privilege('user_templates', 'SELECT')
        AND has_table_privilege('template_bits', 'SELECT')
        AND has_table_privilege('stale_templates', 'SELECT')
    THEN
        PERFORM require_cosine(query_embedding);
        IF max_stale > (SELECT count(*) FROM (SELECT FROM stale_templates LIMIT max_stale) s) THEN
            -- Without a first effort there is no index now.
            IF max_results = 1 AND search.first_effort IS NOT NULL THEN
                RETURN QUERY
                    SELECT * FROM compare_with_users(
                        query_embedding, greatest(threshold, search.certain_similarity), 1,
                        users_by_index(query_embedding, search.method, search.first_effort, 1 + first_spare)
                    );
                IF FOUND THEN
                    RETURN;
                END IF;
            END IF;
            proposed := users_by_signs(
                query_embedding, max_results + search.second_effort, 2 * max_results + second_spare
            );
            -- There are fewer if the many templates of a few users fill the list. Then a scan answers.
            IF cardinality(proposed) >= max_results + second_spare THEN
                RETURN QUERY SELECT * FROM compare_with_users(query_embedding, threshold, max_results, proposed);
                RETURN;
            END IF;
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM find_similar_faces_exactly(query_embedding, threshold, max_results);
END;
$$;

COMMENT ON FUNCTION find_similar_faces(vector, float, integer) IS
    'Identifies a face: the best people whose similarity reaches the threshold, best first, each once with their best embedding. '
    'A threshold of NULL means the gallery''s own for identification, max_results of NULL all people.';

CREATE OR REPLACE FUNCTION find_similar_faces_exactly(
    query_embedding vector(512),
    similarity_threshold float DEFAULT NULL,
    max_results integer DEFAULT 1
)
RETURNS TABLE(
    user_id INTEGER,
    user_name VARCHAR,
    user_email VARCHAR,
    similarity float,
    embedding_id INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    threshold float := coalesce(similarity_threshold, (SELECT g.identify_threshold FROM gallery g));
BEGIN
    -- The threshold comes first, so that the many photos of one person cannot crowd out another person.
    -- MATERIALIZED keeps this a plain, parallel scan. Otherwise the planner, which expects a third of the rows to remain, would
    -- read the whole table through idx_embeddings_user_id to have them in order.
    RETURN QUERY
        WITH near AS MATERIALIZED (
            SELECT fe.user_id, fe.id AS embedding_id, 1 - (fe.embedding <=> query_embedding) AS similarity
            FROM face_embeddings fe
            WHERE 1 - (fe.embedding <=> query_embedding) >= threshold
        ),
        best_of_each AS (
            SELECT DISTINCT ON (near.user_id) near.user_id, near.embedding_id, near.similarity
            FROM near
            ORDER BY near.user_id, near.similarity DESC, near.embedding_id
        ),
        best AS (
            SELECT * FROM best_of_each b
            WHERE require_cosine(query_embedding)
            ORDER BY b.similarity DESC, b.embedding_id
            LIMIT max_results
        )
        SELECT best.user_id, person.name, person.email, best.similarity, best.embedding_id
        FROM best
        -- LIMIT 1 removes no row. It keeps the planner from reading all users if it does not know max_results.
        CROSS JOIN LATERAL (SELECT u.name, u.email FROM users u WHERE u.id = best.user_id LIMIT 1) person
        ORDER BY best.similarity DESC, best.embedding_id;
END;
$$;

COMMENT ON FUNCTION find_similar_faces_exactly(vector, float, integer) IS
    'The same as find_similar_faces, but always compares the probe with every embedding.';

-- In PL/pgSQL, because Citus refuses SQL functions with parameters. PostgreSQL would inline an SQL function, which takes 0.015 ms
-- (16 %) less.
CREATE OR REPLACE FUNCTION verify_face(
    query_embedding vector(512),
    target_user_id INTEGER,
    similarity_threshold float DEFAULT 0.7
)
RETURNS TABLE(
    match BOOLEAN,
    similarity float,
    user_name VARCHAR,
    user_email VARCHAR
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT
            coalesce(
                best.similarity >= coalesce(similarity_threshold, (SELECT gallery.verify_threshold FROM gallery)),
                FALSE
            ),
            coalesce(best.similarity, 0.0),
            u.name,
            u.email
        FROM users u
        CROSS JOIN LATERAL (
            SELECT max(1 - (fe.embedding <=> query_embedding)) AS similarity
            FROM face_embeddings fe
            WHERE fe.user_id = u.id
        ) best
        WHERE u.id = target_user_id
            AND require_cosine(query_embedding);
END;
$$;

COMMENT ON FUNCTION verify_face(vector, integer, float) IS
    'Verifies a face: whether the probe is this user. Returns one row for a user, also for one without embeddings (no match, '
    'similarity 0), and no row for an unknown user. A threshold of NULL means the gallery''s own for verification.';

CREATE OR REPLACE FUNCTION get_user_embeddings_count(target_user_id INTEGER)
RETURNS INTEGER
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (SELECT count(*)::integer FROM face_embeddings fe WHERE fe.user_id = target_user_id);
END;
$$;

COMMENT ON FUNCTION get_user_embeddings_count(integer) IS 'The number of embeddings of a user. 0 for an unknown user.';

CREATE OR REPLACE FUNCTION similarity_confidence(similarity float)
RETURNS float
LANGUAGE plpgsql STABLE STRICT
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    given CONSTANT float := similarity_confidence.similarity;
    below confidence_anchors;
    above confidence_anchors;
BEGIN
    IF given = 'NaN' OR NOT EXISTS (SELECT FROM confidence_anchors) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO below FROM confidence_anchors a WHERE a.similarity <= greatest(given, -1) ORDER BY a.similarity DESC LIMIT 1;
    IF NOT FOUND THEN
        below.similarity := -1;
        below.confidence := 0;
    END IF;
    SELECT * INTO above FROM confidence_anchors a WHERE a.similarity > least(given, 0.999999999) ORDER BY a.similarity LIMIT 1;
    IF NOT FOUND THEN
        above.similarity := 1;
        above.confidence := 100;
    END IF;
    RETURN below.confidence
        + (above.confidence - below.confidence) * (least(greatest(given, -1), 1) - below.similarity)
        / (above.similarity - below.similarity);
END;
$$;

COMMENT ON FUNCTION similarity_confidence(float) IS
    'The confidence, 0 to 100, of a similarity from find_similar_faces or verify_face. NULL for NULL or NaN, and for a gallery '
    'without a model.';

CREATE OR REPLACE FUNCTION refresh_templates(max_users INTEGER DEFAULT 100)
RETURNS INTEGER
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- Users whose rows another transaction has locked are skipped. If this function has to wait anyway, it gives up before PostgreSQL
-- detects a deadlock and cancels one of the two transactions.
SET lock_timeout = '200ms'
AS $$
DECLARE
    taken INTEGER[];
    -- Photos that verification would not accept as one person do not share a template.
    least_similarity float := (SELECT greatest(g.verify_threshold, 0.1) FROM gallery g);
BEGIN
    DELETE FROM stale_templates s WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = s.user_id);
    taken := ARRAY(
        SELECT u.id
        FROM users u
        WHERE u.id IN (SELECT s.user_id FROM stale_templates s)
        ORDER BY u.id
        LIMIT max_users
        FOR NO KEY UPDATE SKIP LOCKED
    );
    -- These rows are deleted before the embeddings are read, so that the row of an enrollment in between stays.
    DELETE FROM stale_templates s WHERE s.user_id = ANY (taken);
    DELETE FROM user_templates t WHERE t.user_id = ANY (taken);
    -- One template is enough if every embedding is similar enough to the mean. The limit is the cosine of n unit vectors with
    -- pairwise cosine c to their mean, sqrt((1 + (n - 1) c) / n). Opposite vectors have no mean.
    WITH means AS (
        SELECT fe.user_id, avg(l2_normalize(fe.embedding)) AS mean, count(*) AS photos
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
        GROUP BY fe.user_id
    )
    INSERT INTO user_templates (user_id, template)
    SELECT means.user_id, l2_normalize(means.mean)::halfvec(512)
    FROM means
    WHERE vector_norm(means.mean) > 1e-3
        AND (
            SELECT bool_and(
                1 - (fe.embedding <=> means.mean)
                    >= sqrt((1 + (means.photos - 1) * least_similarity) / means.photos) - 1e-6
            )
            FROM face_embeddings fe
            WHERE fe.user_id = means.user_id
        );
    INSERT INTO user_templates (user_id, template)
    SELECT ungrouped.user_id, groups.template
    FROM (
        SELECT DISTINCT fe.user_id
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
            AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = fe.user_id)
    ) ungrouped
    CROSS JOIN LATERAL templates_of_groups(ungrouped.user_id, least_similarity) AS groups(template);
    INSERT INTO template_bits (template_id, user_id, bits)
    SELECT t.id, t.user_id, binary_quantize(t.template)::bit(512)
    FROM user_templates t
    WHERE t.user_id = ANY (taken);
    RETURN cardinality(taken);
END;
$$;

COMMENT ON FUNCTION refresh_templates(integer) IS
    'Makes the templates of at most max_users users whose embeddings changed, and returns the number of those users. Call it '
    'until it returns 0. pgface does so in the background. If you enroll only by SQL, call it yourself now and then.';

-- It commits after each step, so that other sessions can enroll and identify. Searches work as before until the last step. A
-- procedure that commits cannot have settings, so it sets the search_path again after each COMMIT.
CREATE OR REPLACE PROCEDURE fit_search(method TEXT DEFAULT 'auto', latency_target_ms float DEFAULT 10)
LANGUAGE plpgsql
AS $$
DECLARE
    batch_users CONSTANT INTEGER := 5000;
    path TEXT;
    own_oid OID;
    used TEXT;
    scan float;
    next_step TEXT := 'choose the method';
    fitted RECORD;
    failure TEXT;
    failure_code TEXT;
BEGIN
    GET DIAGNOSTICS own_oid = PG_ROUTINE_OID;
    SELECT concat_ws(', ', quote_ident(n.nspname), nullif(quote_ident(v.nspname), quote_ident(n.nspname)), 'pg_temp') INTO path
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    CROSS JOIN pg_extension e
    JOIN pg_namespace v ON v.oid = e.extnamespace
    WHERE p.oid = own_oid AND e.extname = 'vector';
    PERFORM set_config('search_path', path, true);
    IF method IS NULL OR method NOT IN ('auto', 'exact', 'hnsw', 'hnsw_binary', 'ivfflat') THEN
        RAISE EXCEPTION 'there is no search method %. Choose one of auto, exact, hnsw, hnsw_binary, ivfflat', method
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WHILE NOT take_index_lock() LOOP
        COMMIT;
        PERFORM pg_sleep(0.1);
        PERFORM set_config('search_path', path, true);
    END LOOP;
    COMMIT;

    WHILE next_step <> 'clean up' LOOP
        PERFORM set_config('search_path', path, true);
        BEGIN
            CASE next_step
                WHEN 'choose the method' THEN
                    ANALYZE users, face_embeddings, stale_templates;
                    scan := fastest_scan();
                    used := method;
                    IF method = 'auto' THEN
                        used := CASE WHEN scan * 1e3 <= latency_target_ms THEN 'exact' ELSE 'hnsw' END;
                    END IF;
                    IF used = 'exact' THEN
                        next_step := 'switch';
                    ELSIF NOT EXISTS (SELECT FROM face_embeddings) THEN
                        RAISE EXCEPTION 'the gallery is empty, so % cannot be fitted. Enroll people first', used
                            USING ERRCODE = 'PGF03';
                    ELSE
                        PERFORM note_users_not_searched();
                        next_step := 'make templates';
                    END IF;
                WHEN 'make templates' THEN
                    -- Users who are enrolled in the meantime may remain. They are compared exactly.
                    IF refresh_templates(batch_users) < batch_users THEN
                        next_step := 'delete dead rows';
                    END IF;
                WHEN 'delete dead rows' THEN
                    -- Every search reads this table, and a load leaves it full of dead rows.
                    BEGIN
                        SET LOCAL lock_timeout = '1s';
                        LOCK TABLE stale_templates IN ACCESS EXCLUSIVE MODE;
                        IF NOT EXISTS (SELECT FROM stale_templates) THEN
                            TRUNCATE stale_templates;
                        END IF;
                    EXCEPTION WHEN lock_not_available THEN
                        NULL; -- Another session needs the table.
                    END;
                    next_step := 'build the index';
                WHEN 'build the index' THEN
                    ANALYZE user_templates, template_bits, stale_templates;
                    PERFORM build_template_index(used);
                    next_step := 'switch';
                WHEN 'switch' THEN
                    PERFORM switch_search(method, used, scan);
                    next_step := 'clean up';
            END CASE;
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            GET STACKED DIAGNOSTICS failure = MESSAGE_TEXT, failure_code = RETURNED_SQLSTATE;
            next_step := 'clean up';
        END;
        COMMIT;
    END LOOP;

    -- Also after a failure. The search then works as before, and its index stays.
    PERFORM set_config('search_path', path, true);
    BEGIN
        PERFORM drop_unused_indexes();
        IF failure IS NULL THEN
            PERFORM settle_vector_index();
        END IF;
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        IF failure IS NULL THEN
            GET STACKED DIAGNOSTICS failure = MESSAGE_TEXT, failure_code = RETURNED_SQLSTATE;
        END IF;
    END;
    UPDATE gallery_locks SET process = NULL, process_since = NULL WHERE name = 'index';
    SELECT * INTO fitted FROM gallery_search;
    COMMIT;

    IF failure IS NOT NULL THEN
        RAISE EXCEPTION '%', failure USING ERRCODE = failure_code;
    ELSIF used = 'exact' THEN
        RAISE NOTICE 'searching exactly: comparing a probe with all % embeddings takes % ms', fitted.embeddings,
            round(fitted.scan_ms::numeric, 1);
    ELSE
        RAISE NOTICE 'searching % embeddings with %. An exact scan takes % ms', fitted.embeddings, used,
            round(fitted.scan_ms::numeric, 1);
        RAISE NOTICE 'agreement with the exact answer: % of % probes (95 %% interval % to %)',
            round(fitted.agreement::numeric, 4), fitted.probes, round(fitted.agreement_low::numeric, 4),
            round(fitted.agreement_high::numeric, 4);
    END IF;
END;
$$;

COMMENT ON PROCEDURE fit_search(text, float) IS
    'Makes identification fast for the gallery''s size, and reports how exact it is. Call it outside a transaction after you load '
    'many embeddings. method: auto, exact, hnsw, hnsw_binary or ivfflat. With auto, a gallery gets an index if an exact scan takes longer '
    'than latency_target_ms. pgface fit-search does the same.';

-- ================================================
-- 3. API of the service's role
-- ================================================
--
-- The web service's role has no rights on the columns of passwords, tokens, keys and the audit log. These functions run with the
-- owner's rights and check their arguments. `pgface roles create` grants them to that role, and no other role has them.

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

COMMENT ON FUNCTION find_session(text) IS 'The session of a token, if it has not ended.';

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
        RAISE EXCEPTION 'a login needs the SHA-256 of its token, and has to end within a year'
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

COMMENT ON FUNCTION begin_session(integer, text, real, boolean, text, float) IS
    'Starts a session and returns when it ends. A login with a password needs a proof: the stored hash of that password, '
    'which the service''s role cannot read. The gallery''s owner needs no proof. A login by face alone gives no '
    'administrator''s rights. Times are in the server''s time zone, as in the specification.';

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

COMMENT ON FUNCTION end_sessions(integer, integer, text, text) IS
    'Ends sessions and returns their users: the sessions of a user, with an id or with a token, except the one with but_sha256.';

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

COMMENT ON FUNCTION find_password(text[]) IS
    'The user with one of these spellings of an e-mail, and the hash of their password without its digest.';

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

COMMENT ON FUNCTION confirm_password(integer, text[]) IS
    'The user''s stored hash, if it is among these hashes. NULL if not. Locks the user''s row until the transaction ends.';

CREATE OR REPLACE FUNCTION set_password(of_user INTEGER, hash TEXT, proof TEXT, authority TEXT)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT is_gallery_owner() AND blank_password(hash) = '' THEN
        RAISE EXCEPTION 'this is not the hash of a password' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF proof IS NULL OR confirm_password(of_user, ARRAY[proof]) IS NULL THEN
        PERFORM require_authority(authority);
    END IF;
    UPDATE users u SET password = hash WHERE u.id = of_user;
END;
$$;

COMMENT ON FUNCTION set_password(integer, text, text, text) IS
    'Sets a user''s password. It needs the hash of the former password as proof, or the authority of an administrator or the '
    'owner.';

-- LIKE and split_part(), because regular expressions would take half a minute for a million users.
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

COMMENT ON FUNCTION password_kinds(text) IS
    'The kinds and costs of the users'' password hashes: the starts of the hashes, except for one kind.';

CREATE OR REPLACE FUNCTION has_password(of_user INTEGER)
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM users u WHERE u.id = of_user AND u.password <> '!');
END;
$$;

COMMENT ON FUNCTION has_password(integer) IS 'Whether a user has a password.';

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

COMMENT ON FUNCTION find_api_key(text) IS
    'The key and its scopes, unless it is revoked. Records the time of use, at most once a minute.';

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

COMMENT ON FUNCTION create_api_key(text, text, text[], text) IS
    'Creates a key. It needs the authority of an administrator or the owner.';

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

COMMENT ON FUNCTION revoke_api_key(integer, text) IS
    'Revokes a key and returns its id, or NULL if there is no such key. It needs the authority of an administrator or the '
    'owner.';

-- An attacker can cause any number of refusals. So similar refusals of an hour (same event, reason, account and network) share a
-- row. After a thousand such rows in an hour, all accounts and networks share a row. The same applies to the events of one user
-- after the first hundred in an hour.
CREATE OR REPLACE FUNCTION record_event(
    event TEXT, refused TEXT, actor TEXT, of_user INTEGER, of_key INTEGER, from_address INET, similarity REAL
)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
#variable_conflict use_variable
DECLARE
    max_rows CONSTANT INTEGER := 1000;
    max_of_user CONSTANT INTEGER := 100;
    this_hour TIMESTAMPTZ := date_trunc('hour', clock_timestamp());
    network INET := network(set_masklen(from_address, CASE family(from_address) WHEN 6 THEN 64 ELSE 32 END));
    same TEXT;
BEGIN
    IF event IS NULL OR event !~ '^[a-z]+( [a-z]+){0,3}$' OR length(event) > 40 OR length(refused) > 200
        OR actor !~ '^(command line|(user|key) [0-9]{1,10})$'
        OR (event LIKE 'administrator %' AND NOT is_gallery_owner())
    THEN
        RAISE EXCEPTION 'this is not for the audit log' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF refused IS NULL AND (actor IS NULL OR actor NOT LIKE 'user %' OR max_of_user > (
        SELECT count(*) FROM (
            SELECT FROM audit_log l WHERE l.actor = actor AND l.at >= this_hour LIMIT max_of_user
        ) AS events
    )) THEN
        INSERT INTO audit_log (event, outcome, actor, user_id, key_id, address, similarity)
        VALUES (event, 'done', actor, of_user, of_key, from_address, similarity);
        RETURN;
    END IF;
    same := concat_ws('|', extract(epoch FROM this_hour)::bigint, event, coalesce(refused, 'done'), coalesce(of_user, 0), network);
    IF NOT EXISTS (SELECT FROM audit_log l WHERE l.alike = same) AND max_rows <= (
        SELECT count(*) FROM (SELECT FROM audit_log l WHERE l.alike IS NOT NULL AND l.at >= this_hour LIMIT max_rows) AS events
    ) THEN
        same := concat_ws(
            '|', extract(epoch FROM this_hour)::bigint, event, CASE WHEN refused IS NULL THEN 'done' ELSE 'refused' END
        );
        refused := CASE WHEN refused IS NOT NULL THEN 'one of too many to list separately' END;
        actor := NULL;
        of_user := NULL;
        from_address := NULL;
        similarity := NULL;
    END IF;
    INSERT INTO audit_log AS l (event, outcome, reason, actor, user_id, key_id, address, similarity, alike)
    VALUES (
        event, CASE WHEN refused IS NULL THEN 'done' ELSE 'refused' END, refused, actor, of_user, of_key, from_address, similarity,
        same
    )
    ON CONFLICT (alike) DO UPDATE
    SET count = l.count + 1, last_at = EXCLUDED.at, similarity = greatest(l.similarity, EXCLUDED.similarity);
END;
$$;

COMMENT ON FUNCTION record_event(text, text, text, integer, integer, inet, real) IS
    'Adds an event to the audit log, with the present time. Only the owner can record events of administrators'' rights.';

CREATE OR REPLACE FUNCTION prune_audit_log(days INTEGER)
RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    deleted BIGINT;
BEGIN
    IF days < 30 AND NOT is_gallery_owner() THEN
        RAISE EXCEPTION 'only the owner of the gallery may delete rows of the last 30 days'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM audit_log l WHERE coalesce(l.last_at, l.at) < statement_timestamp() - make_interval(days => days);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END;
$$;

COMMENT ON FUNCTION prune_audit_log(integer) IS
    'Deletes rows of the audit log that are older than so many days, and returns their number. Only the owner can delete rows of '
    'the last 30 days.';

-- ================================================
-- 4. INTERNAL functions
-- ================================================
--
-- Other functions and pgface call these. They may change in any version, so do not call them yourself. The comment of each starts
-- with "Internal:".

CREATE OR REPLACE FUNCTION users_by_index(
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

COMMENT ON FUNCTION users_by_index(vector, text, integer, integer) IS
    'Internal: the first look. Returns the users of the nearest templates in an index. The effort is hnsw.ef_search (1 to 1000) or '
    'ivfflat.probes.';

CREATE OR REPLACE FUNCTION users_by_signs(
    query_embedding vector(512),
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    -- Two strangers differ in 256 of 512 signs on average, and one pair in thirteen in fewer than 240.
    near CONSTANT integer := 240;
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    nearest BIGINT[];
BEGIN
    -- hamming_distance() and not its operator, for which the planner could use an index on the bits.
    nearest := ARRAY(
        SELECT b.template_id
        FROM template_bits b
        WHERE hamming_distance(b.bits, probe_bits) < near
        ORDER BY hamming_distance(b.bits, probe_bits)
        LIMIT effort
    );
    IF cardinality(nearest) < effort THEN
        nearest := ARRAY(
            SELECT b.template_id FROM template_bits b ORDER BY hamming_distance(b.bits, probe_bits) LIMIT effort
        );
    END IF;
    RETURN nearest_users(probe, nearest, max_users);
END;
$$;

COMMENT ON FUNCTION users_by_signs(vector, integer, integer) IS
    'Internal: the second look. Compares the signs of every template with those of the probe. Then it compares the nearest '
    'templates themselves, as many as the effort. It uses no index, so an index cannot make it miss a person.';

CREATE OR REPLACE FUNCTION nearest_users(
    probe halfvec(512),
    template_ids BIGINT[],
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN (
        SELECT array_agg(nearest.user_id)
        FROM (
            SELECT candidate.user_id
            FROM unnest(template_ids) AS proposed(id)
            CROSS JOIN LATERAL (
                SELECT t.user_id, t.template <=> probe AS distance
                FROM user_templates t
                WHERE t.id = proposed.id
                -- LIMIT 1 removes no row. It keeps the planner from reading all templates if it expects many ids.
                LIMIT 1
            ) candidate
            GROUP BY candidate.user_id
            ORDER BY min(candidate.distance)
            LIMIT max_users
        ) nearest
    );
END;
$$;

COMMENT ON FUNCTION nearest_users(halfvec, bigint[], integer) IS
    'Internal: the users of these templates, the nearest to the probe first, each once.';

CREATE OR REPLACE FUNCTION compare_with_users(
    query_embedding vector(512),
    similarity_threshold float,
    max_results integer,
    user_ids INTEGER[]
)
RETURNS TABLE(
    user_id INTEGER,
    user_name VARCHAR,
    user_email VARCHAR,
    similarity float,
    embedding_id INTEGER
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT u.id, u.name, u.email, best.similarity, best.embedding_id
        FROM (
            SELECT nearest.*
            FROM (SELECT unnest(user_ids) AS id UNION SELECT s.user_id FROM stale_templates s) candidate
            CROSS JOIN LATERAL (
                SELECT fe.user_id, fe.id AS embedding_id, 1 - (fe.embedding <=> query_embedding) AS similarity
                FROM face_embeddings fe
                WHERE fe.user_id = candidate.id
                -- By similarity and not by distance. For a distance the planner could use a vector index. It finds the nearest
                -- embeddings of all users, and maybe no embedding of this user.
                ORDER BY 1 - (fe.embedding <=> query_embedding) DESC, fe.id
                LIMIT 1
            ) nearest
            WHERE nearest.similarity >= similarity_threshold
            ORDER BY nearest.similarity DESC, nearest.embedding_id
            LIMIT max_results
        ) best
        JOIN users u ON u.id = best.user_id
        ORDER BY best.similarity DESC, best.embedding_id;
END;
$$;

COMMENT ON FUNCTION compare_with_users(vector, float, integer, integer[]) IS
    'Internal: the same as find_similar_faces, but only among these users and those with stale templates. Compares all of their '
    'embeddings.';

CREATE OR REPLACE FUNCTION changed_embeddings()
RETURNS BIGINT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN pg_stat_get_tuples_inserted('face_embeddings'::regclass)
        + pg_stat_get_tuples_updated('face_embeddings'::regclass)
        + pg_stat_get_tuples_deleted('face_embeddings'::regclass);
END;
$$;

COMMENT ON FUNCTION changed_embeddings() IS
    'Internal: the number of rows of face_embeddings that have changed since PostgreSQL began to count.';

CREATE OR REPLACE FUNCTION process_is_alive(pid INTEGER, since TIMESTAMPTZ)
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    -- Only a role with pg_read_all_stats sees the start time of other roles' processes.
    RETURN EXISTS (
        SELECT FROM pg_stat_activity a
        WHERE a.pid = process_is_alive.pid
            AND a.datname = current_database()
            AND coalesce(a.backend_start = since, TRUE)
    );
END;
$$;

COMMENT ON FUNCTION process_is_alive(integer, timestamptz) IS
    'Internal: whether the server process with this id and start time is still running.';

CREATE OR REPLACE FUNCTION take_index_lock()
RETURNS BOOLEAN
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    holder gallery_locks;
    began TIMESTAMPTZ;
BEGIN
    SELECT * INTO holder FROM gallery_locks l WHERE l.name = 'index' FOR UPDATE;
    IF holder.process <> pg_backend_pid() AND process_is_alive(holder.process, holder.process_since) THEN
        RETURN FALSE;
    END IF;
    SELECT a.backend_start INTO began FROM pg_stat_activity a WHERE a.pid = pg_backend_pid();
    UPDATE gallery_locks l SET process = pg_backend_pid(), process_since = began WHERE l.name = 'index';
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION take_index_lock() IS
    'Internal: takes the lock ''index'' for this session and returns TRUE, or returns FALSE if another session holds it. A session '
    'holds it while it builds indexes.';

CREATE OR REPLACE FUNCTION sequences_behind_ids()
RETURNS TABLE(table_name TEXT, sequence REGCLASS, newest_id BIGINT)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    FOREACH table_name IN ARRAY ARRAY['users', 'photos', 'auth_tokens', 'face_embeddings'] LOOP
        sequence := pg_get_serial_sequence(table_name, 'id');
        EXECUTE format('SELECT max(id) FROM %I', table_name) INTO newest_id;
        IF newest_id > coalesce(pg_sequence_last_value(sequence), 0) THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION sequences_behind_ids() IS 'Internal: the tables whose sequence would give an id that already exists.';

CREATE OR REPLACE FUNCTION set_sequence(table_name TEXT, column_name TEXT, last BIGINT)
RETURNS BIGINT
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    newest BIGINT;
BEGIN
    EXECUTE format('SELECT max(%I) FROM %I', column_name, table_name) INTO newest;
    RETURN setval(pg_get_serial_sequence(quote_ident(table_name), column_name), greatest(last, newest));
END;
$$;

COMMENT ON FUNCTION set_sequence(text, text, bigint) IS
    'Internal: sets a sequence to a number, or to the largest one in the column if that is larger.';

CREATE OR REPLACE FUNCTION gallery_size()
RETURNS TABLE(users BIGINT, embeddings BIGINT)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    millions CONSTANT BIGINT := 1000000;
BEGIN
    SELECT c.reltuples::bigint INTO users FROM pg_class c WHERE c.oid = 'users'::regclass;
    SELECT c.reltuples::bigint INTO embeddings FROM pg_class c WHERE c.oid = 'face_embeddings'::regclass;
    IF users < millions THEN
        users := (SELECT count(*) FROM users u);
    END IF;
    IF embeddings < millions THEN
        embeddings := (SELECT count(*) FROM face_embeddings fe);
    END IF;
    RETURN NEXT;
END;
$$;

COMMENT ON FUNCTION gallery_size() IS
    'Internal: the number of users and embeddings. Above a million, it is PostgreSQL''s estimate.';

CREATE OR REPLACE FUNCTION template_index(method TEXT)
RETURNS TABLE(index_name TEXT, definition TEXT)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY VALUES (
        CASE method
            WHEN 'hnsw' THEN 'idx_user_templates_hnsw'
            WHEN 'hnsw_binary' THEN 'idx_template_bits_hnsw'
            WHEN 'ivfflat' THEN 'idx_user_templates_ivfflat'
        END,
        CASE method
            WHEN 'hnsw' THEN 'user_templates USING hnsw (template halfvec_cosine_ops) WITH (m = 16, ef_construction = 128)'
            WHEN 'hnsw_binary' THEN 'template_bits USING hnsw (bits bit_hamming_ops) WITH (m = 16, ef_construction = 128)'
            -- The specification's rule: the square root of the rows.
            WHEN 'ivfflat' THEN format(
                'user_templates USING ivfflat (template halfvec_ip_ops) WITH (lists = %s)',
                greatest(1, floor(sqrt((SELECT count(*) FROM user_templates))))
            )
        END
    );
END;
$$;

COMMENT ON FUNCTION template_index(text) IS
    'Internal: the index that a search method needs: its name, and its definition after ON.';

CREATE OR REPLACE FUNCTION scaled(vector vector, factor float)
RETURNS vector
LANGUAGE plpgsql IMMUTABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN vector * array_fill(factor::real, ARRAY[vector_dims(vector)])::vector;
END;
$$;

COMMENT ON FUNCTION scaled(vector, float) IS 'Internal: a vector times a number.';

-- A probe is the mean of a user's embeddings, moved by a random distance in a random direction. The distance follows from the
-- similarity of a random embedding of the gallery to the other embeddings of its user. The direction is a random mixture of the
-- differences between such embeddings and the means of the others.
CREATE OR REPLACE FUNCTION draw_probes(wanted INTEGER)
RETURNS TABLE(user_id INTEGER, probe vector)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    max_mixed CONSTANT INTEGER := 1000;
    share float := 100.0 * wanted / greatest(1, (SELECT count(*) FROM face_embeddings));
    users INTEGER[];
    means vector[];
    -- Lengths of the means: the cosine of a photo with a mean is its average similarity to the embeddings, divided by the length.
    lengths float[];
    -- For embeddings of users who have others: the unit difference from the mean of the others, and the average similarity to them.
    differences vector[];
    opposites vector[];
    similarities float[];
    away vector;
    cosine float;
BEGIN
    LOOP
        SELECT array_agg(s.user_id), array_agg(s.mean), array_agg(s.length),
            array_agg(l2_normalize(s.embedding - scaled(s.others, s.similarity / vector_norm(s.others) ^ 2)))
                FILTER (WHERE s.others IS NOT NULL),
            array_agg(s.similarity) FILTER (WHERE s.others IS NOT NULL)
        INTO users, means, lengths, differences, similarities
        FROM (
            SELECT e.user_id, l2_normalize(e.embedding) AS embedding, l2_normalize(own.mean) AS mean,
                vector_norm(own.mean) AS length, others.mean AS others,
                -(l2_normalize(e.embedding) <#> others.mean) AS similarity
            FROM face_embeddings e TABLESAMPLE BERNOULLI (least(100, share))
            CROSS JOIN LATERAL (
                SELECT avg(l2_normalize(o.embedding)) AS mean FROM face_embeddings o WHERE o.user_id = e.user_id
            ) own
            CROSS JOIN LATERAL (
                SELECT avg(l2_normalize(o.embedding)) AS mean
                FROM face_embeddings o
                WHERE o.user_id = e.user_id AND o.id <> e.id
            ) others
            -- Opposite embeddings have no mean.
            WHERE vector_norm(own.mean) > 1e-3 AND (others.mean IS NULL OR vector_norm(others.mean) > 1e-3)
        ) s;
        EXIT WHEN users IS NOT NULL OR share >= 100;
        share := 100;
    END LOOP;
    differences := (coalesce(differences, means))[1:max_mixed];
    opposites := ARRAY(SELECT scaled(u.difference, -1) FROM unnest(differences) AS u(difference));
    FOR number IN 1..coalesce(cardinality(users), 0) LOOP
        away := (
            SELECT sum(CASE WHEN random() < 0.5 THEN u.difference ELSE u.opposite END)
            FROM unnest(differences, opposites) AS u(difference, opposite)
        );
        -- A small random part in every direction, so that a mixture of few differences resembles none of them too closely.
        away := away + (SELECT array_agg(0.1 * random_normal()) FROM generate_series(1, vector_dims(away)))::vector;
        away := l2_normalize(away + scaled(means[number], away <#> means[number]));
        cosine := CASE
            WHEN similarities IS NULL THEN 0.3 + 0.6 * random()
            ELSE similarities[1 + floor(random() * cardinality(similarities))::integer] / lengths[number]
        END;
        cosine := least(greatest(cosine, 0.1), 1);
        user_id := users[number];
        probe := l2_normalize(scaled(means[number], cosine) + scaled(away, sqrt(1 - cosine ^ 2)));
        RETURN NEXT;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION draw_probes(integer) IS
    'Internal: probes that resemble further photos of users of the gallery. Their number is about the wanted one.';

CREATE OR REPLACE FUNCTION exact_answers(users INTEGER[], probes vector[])
RETURNS TABLE(number BIGINT, best float, stranger float)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT answer.number, greatest(answer.mate, answer.stranger), coalesce(answer.stranger, -1)
        FROM (
            SELECT p.number,
                max(1 - (fe.embedding <=> p.probe)) FILTER (WHERE fe.user_id = p.user_id) AS mate,
                max(1 - (fe.embedding <=> p.probe)) FILTER (WHERE fe.user_id <> p.user_id) AS stranger
            FROM face_embeddings fe
            CROSS JOIN unnest(users, probes) WITH ORDINALITY AS p(user_id, probe, number)
            GROUP BY p.number
        ) answer;
END;
$$;

COMMENT ON FUNCTION exact_answers(integer[], vector[]) IS
    'Internal: for each probe, the similarity of the best person, and of the best person other than the probe''s own.';

CREATE OR REPLACE FUNCTION look(probe vector, method TEXT, effort INTEGER, OUT similarity float, OUT seconds float)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    start CONSTANT TIMESTAMPTZ := clock_timestamp();
    proposed INTEGER[];
BEGIN
    IF method IS NULL THEN
        proposed := users_by_signs(probe, 1 + effort, 22);
    ELSE
        proposed := users_by_index(probe, method, effort, 3);
    END IF;
    similarity := coalesce((SELECT c.similarity FROM compare_with_users(probe, -1, 1, proposed) c), -1);
    seconds := extract(epoch FROM clock_timestamp() - start);
END;
$$;

COMMENT ON FUNCTION look(vector, text, integer) IS
    'Internal: one look of find_similar_faces: the similarity of the best person that it finds, and the time that it takes. It is '
    'the first look through the method''s index, or the second look if the method is NULL.';

-- The first effort is the one with the least expected time, including the second look after a doubt. The second effort is the
-- smallest that misses no probe, or the largest.
CREATE OR REPLACE FUNCTION measure_search(method TEXT, max_probes INTEGER DEFAULT 1000)
RETURNS TABLE(
    first_effort INTEGER,
    second_effort INTEGER,
    certain_similarity float,
    agreement float,
    agreement_low float,
    agreement_high float,
    probes INTEGER
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    tolerance CONSTANT float := 1e-5;
    second_efforts CONSTANT INTEGER[] := ARRAY[100, 200, 400, 1000];
    first_efforts INTEGER[] := ARRAY[10, 16, 24, 40, 64];
    warm_up CONSTANT INTEGER := 50;
    -- Number of probes that try every first effort. For every 20th of them, a second look is timed.
    max_timed CONSTANT INTEGER := 400;
    second_timed_every CONSTANT INTEGER := 20;
    users INTEGER[];
    drawn vector[];
    best float[];
    wrong INTEGER;
    missed INTEGER[];
    z CONSTANT float := 1.959964;
    center float;
    half float;
BEGIN
    IF method = 'ivfflat' THEN
        -- The specification's rule: the square root of the lists.
        first_efforts := ARRAY[greatest(1, floor(sqrt(floor(sqrt((SELECT count(*) FROM user_templates))))))::integer];
    END IF;
    -- At most a tenth of the embeddings, so that measuring a small gallery does not take longer than filling it.
    SELECT array_agg(d.user_id), array_agg(d.probe) INTO users, drawn
    FROM draw_probes(least(max_probes, ceil(0.1 * (SELECT count(*) FROM face_embeddings)))::integer) d;
    IF users IS NULL THEN
        RAISE EXCEPTION 'the gallery is empty, so the search cannot be measured. Enroll people first'
            USING ERRCODE = 'PGF03';
    END IF;
    SELECT array_agg(a.best ORDER BY a.number), percentile_cont(0.999) WITHIN GROUP (ORDER BY a.stranger)
    INTO best, certain_similarity
    FROM exact_answers(users, drawn) a;
    -- NULL in a gallery of one person, who has no strangers.
    certain_similarity := greatest(0.1, certain_similarity);
    probes := cardinality(drawn);

    PERFORM look(p.probe, method, first_efforts[cardinality(first_efforts)]) FROM unnest(drawn[:warm_up]) AS p(probe);
    -- All efforts are timed for one probe before the next, because the speed of the machine may change.
    WITH looks AS MATERIALIZED (
        SELECT planned.is_second, planned.effort, l.similarity, l.seconds
        FROM (
            SELECT p.number, p.probe, FALSE AS is_second, e.effort
            FROM unnest(drawn[:max_timed]) WITH ORDINALITY AS p(probe, number)
            CROSS JOIN unnest(first_efforts) AS e(effort)
            UNION ALL
            SELECT p.number, p.probe, TRUE, second_efforts[1]
            FROM unnest(drawn[:max_timed]) WITH ORDINALITY AS p(probe, number)
            WHERE p.number % second_timed_every = 1
            ORDER BY number, is_second, effort
        ) planned
        CROSS JOIN LATERAL look(planned.probe, CASE WHEN NOT planned.is_second THEN method END, planned.effort) l
    )
    SELECT l.effort INTO first_effort
    FROM looks l
    WHERE NOT l.is_second
    GROUP BY l.effort
    ORDER BY percentile_cont(0.5) WITHIN GROUP (ORDER BY l.seconds)
        + avg((l.similarity < certain_similarity)::integer)
        * (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s.seconds) FROM looks s WHERE s.is_second),
        l.effort
    LIMIT 1;

    SELECT count(*) FILTER (WHERE l.similarity >= certain_similarity AND l.similarity < best[p.number] - tolerance),
        coalesce(array_agg(p.number) FILTER (WHERE l.similarity < certain_similarity), '{}')
    INTO wrong, missed
    FROM unnest(drawn) WITH ORDINALITY AS p(probe, number)
    CROSS JOIN LATERAL look(p.probe, method, first_effort) l;
    FOREACH second_effort IN ARRAY second_efforts LOOP
        missed := ARRAY(
            SELECT m.number
            FROM unnest(missed) AS m(number)
            CROSS JOIN LATERAL look(drawn[m.number], NULL, second_effort) l
            WHERE l.similarity < best[m.number] - tolerance
        );
        EXIT WHEN cardinality(missed) = 0;
    END LOOP;

    agreement := 1 - (wrong + cardinality(missed))::float / probes;
    -- E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    center := (agreement + z ^ 2 / (2 * probes)) / (1 + z ^ 2 / probes);
    half := z * sqrt(agreement * (1 - agreement) / probes + z ^ 2 / (4 * probes::float ^ 2)) / (1 + z ^ 2 / probes);
    agreement_low := greatest(0, center - half);
    agreement_high := CASE agreement WHEN 1 THEN 1 ELSE least(1, center + half) END;
    RETURN NEXT;
END;
$$;

COMMENT ON FUNCTION measure_search(text, integer) IS
    'Internal: chooses the efforts for an existing index, and measures how often the search finds the same person as an exact '
    'scan, with its 95 % interval. The probes are made from the gallery''s own embeddings.';

CREATE OR REPLACE FUNCTION fastest_scan()
RETURNS float
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    min_scans CONSTANT INTEGER := 5;
    max_scans CONSTANT INTEGER := 20;
    enough_seconds CONSTANT float := 0.5;
    took float[] := '{}';
    began TIMESTAMPTZ;
    probe vector;
BEGIN
    FOR probe IN SELECT d.probe FROM draw_probes(2 * max_scans) d LIMIT max_scans LOOP
        began := clock_timestamp();
        PERFORM find_similar_faces_exactly(probe);
        took := took || extract(epoch FROM clock_timestamp() - began)::float;
        EXIT WHEN cardinality(took) >= min_scans AND (SELECT sum(t) FROM unnest(took) t) >= enough_seconds;
    END LOOP;
    RETURN coalesce((SELECT min(t) FROM unnest(took) t), 0);
END;
$$;

COMMENT ON FUNCTION fastest_scan() IS
    'Internal: the seconds of the fastest of several exact scans, because a busy server slows some. 0 for an empty gallery.';

CREATE OR REPLACE FUNCTION note_users_not_searched()
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO stale_templates (user_id)
    SELECT u.id
    FROM users u
    WHERE EXISTS (SELECT FROM face_embeddings e WHERE e.user_id = u.id)
        AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = u.id)
        AND NOT EXISTS (SELECT FROM stale_templates s WHERE s.user_id = u.id);
END;
$$;

COMMENT ON FUNCTION note_users_not_searched() IS
    'Internal: marks users as stale who have embeddings and no template. No trigger ran for their embeddings, for example in '
    'logical replication.';

CREATE OR REPLACE FUNCTION build_template_index(method TEXT)
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET client_min_messages = warning
-- A build waits for transactions that write to the templates. Later ones wait for the build.
SET lock_timeout = '30min'
AS $$
DECLARE
    wanted RECORD;
    server_memory BIGINT := pg_size_bytes(current_setting('maintenance_work_mem'));
    -- The graph of HNSW: the template, its node, and its neighbors.
    needed BIGINT := (SELECT count(*) FROM user_templates) * (1024 + 220 + 512) + 4 * 1024 * 1024;
BEGIN
    SELECT * INTO wanted FROM template_index(method);
    -- An HNSW index grows with the gallery. The lists of an IVFFlat index stay those of an earlier size.
    IF method <> 'ivfflat' AND EXISTS (
        SELECT FROM pg_index i
        WHERE i.indexrelid = to_regclass(format('%I.%I', current_schema(), wanted.index_name)) AND i.indisvalid
    ) THEN
        RETURN;
    END IF;
    -- As much as the build needs, within the memory that the administrator has reserved for PostgreSQL.
    needed := least(needed, greatest(server_memory, pg_size_bytes(current_setting('shared_buffers'))));
    PERFORM set_config('maintenance_work_mem', greatest(needed, server_memory) / 1024 || 'kB', true);
    -- In pgvector before 0.8.2, parallel builds of HNSW indexes write beyond their memory.
    PERFORM set_config('max_parallel_maintenance_workers', '0', true)
    FROM pg_extension e
    WHERE e.extname = 'vector'
        AND string_to_array(regexp_replace(e.extversion, '[^0-9.]', '', 'g'), '.')::integer[] < '{0,8,2}';
    -- Searches use the old index until the new one is built, and wait only while the two are swapped.
    EXECUTE format('CREATE INDEX %I ON %s', wanted.index_name || '_new', wanted.definition);
    EXECUTE format('DROP INDEX IF EXISTS %I.%I', current_schema(), wanted.index_name);
    EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', current_schema(), wanted.index_name || '_new', wanted.index_name);
END;
$$;

COMMENT ON FUNCTION build_template_index(text) IS 'Internal: builds the index that a search method needs.';

CREATE OR REPLACE FUNCTION switch_search(choice TEXT, method TEXT, scan float)
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    least_agreement CONSTANT float := 0.9;
    measured RECORD;
    size CONSTANT BIGINT := (SELECT count(*) FROM face_embeddings);
    changed CONSTANT BIGINT := changed_embeddings();
BEGIN
    -- For "exact", nothing is measured, and all columns are NULL.
    SELECT * INTO measured FROM measure_search(method) WHERE method <> 'exact';
    -- With less agreement, the index is broken.
    IF measured.agreement_high < least_agreement THEN
        RAISE EXCEPTION 'with % only % %% of % probes get the exact answer, so the search was not changed. Choose another method, '
            'such as exact', method, round((100 * measured.agreement)::numeric, 1), measured.probes
            USING ERRCODE = 'PGF03';
    END IF;
    UPDATE gallery_search
    SET choice = switch_search.choice, method = switch_search.method, first_effort = measured.first_effort,
        second_effort = measured.second_effort, certain_similarity = measured.certain_similarity,
        agreement = measured.agreement, agreement_low = measured.agreement_low, agreement_high = measured.agreement_high,
        probes = measured.probes, scan_ms = scan * 1e3, embeddings = size, changes = changed, chosen_at = now();
END;
$$;

COMMENT ON FUNCTION switch_search(text, text, float) IS
    'Internal: measures a method and switches the search to it, unless it gives wrong answers. Its index must exist.';

CREATE OR REPLACE FUNCTION drop_unused_indexes()
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET client_min_messages = warning
-- Searches wait while this function waits for a transaction that uses an index.
SET lock_timeout = '10s'
AS $$
DECLARE
    used CONSTANT TEXT := (SELECT s.method FROM gallery_search s);
    other TEXT;
BEGIN
    FOREACH other IN ARRAY ARRAY['hnsw', 'hnsw_binary', 'ivfflat'] LOOP
        IF other <> used THEN
            EXECUTE format('DROP INDEX IF EXISTS %I.%I', current_schema(), (SELECT i.index_name FROM template_index(other) i));
        END IF;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION drop_unused_indexes() IS 'Internal: drops the indexes of templates that the search does not use.';

CREATE OR REPLACE FUNCTION settle_vector_index()
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET client_min_messages = warning
SET lock_timeout = '30min'
AS $$
DECLARE
    exactly CONSTANT BOOLEAN := (SELECT s.method = 'exact' FROM gallery_search s);
    wanted CONSTANT BOOLEAN := (SELECT s.vector_index_wanted FROM gallery_search s);
    is_own BOOLEAN;
BEGIN
    SELECT a.amname = 'hnsw' AND c.reloptions IS NULL INTO is_own
    FROM pg_class c
    JOIN pg_index i ON i.indexrelid = c.oid
    JOIN pg_am a ON a.oid = c.relam
    WHERE i.indrelid = 'face_embeddings'::regclass AND c.relname = 'idx_embeddings_vector' AND i.indisvalid;
    IF is_own AND NOT exactly THEN
        EXECUTE format('DROP INDEX %I.idx_embeddings_vector', current_schema());
    ELSIF is_own IS NULL AND exactly AND wanted THEN
        EXECUTE format('DROP INDEX IF EXISTS %I.idx_embeddings_vector', current_schema());
        CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops);
    END IF;
END;
$$;

COMMENT ON FUNCTION settle_vector_index() IS
    'Internal: builds idx_embeddings_vector if the gallery is searched exactly, and drops it if not. In a large gallery it would '
    'cost 2.6 kB and some milliseconds for every face. An index that you have made in its place stays.';

-- The first 32 groups get a template each. After that, each embedding that remains gets its own.
CREATE OR REPLACE FUNCTION templates_of_groups(target_user_id INTEGER, least_similarity float)
RETURNS SETOF halfvec
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    ungrouped INTEGER[] := ARRAY(SELECT fe.id FROM face_embeddings fe WHERE fe.user_id = target_user_id ORDER BY fe.id);
    members INTEGER[];
BEGIN
    FOR group_number IN 1..32 LOOP
        EXIT WHEN cardinality(ungrouped) = 0;
        members := ARRAY(
            SELECT fe.id
            FROM face_embeddings fe, face_embeddings first_one
            WHERE first_one.id = ungrouped[1]
                AND fe.id = ANY (ungrouped)
                AND (fe.id = first_one.id OR 1 - (fe.embedding <=> first_one.embedding) >= least_similarity)
        );
        RETURN QUERY
            SELECT l2_normalize(avg(l2_normalize(fe.embedding)))::halfvec(512)
            FROM face_embeddings fe
            WHERE fe.id = ANY (members);
        ungrouped := ARRAY(
            SELECT id FROM unnest(ungrouped) WITH ORDINALITY AS u(id, place)
            WHERE id <> ALL (members) ORDER BY place
        );
    END LOOP;
    RETURN QUERY
        SELECT l2_normalize(fe.embedding)::halfvec(512) FROM face_embeddings fe WHERE fe.id = ANY (ungrouped);
END;
$$;

COMMENT ON FUNCTION templates_of_groups(integer, float) IS
    'Internal: the templates of a user whose photos differ too much, such as two people who share an account. Each group of '
    'embeddings that are similar to the first of the group gets a template.';

-- session_user, because current_user is always the owner in SECURITY DEFINER functions.
CREATE OR REPLACE FUNCTION is_gallery_owner()
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = 'users'::regclass), 'USAGE');
END;
$$;

COMMENT ON FUNCTION is_gallery_owner() IS
    'Internal: whether the session''s role owns the tables, or has the rights of the owner.';

-- The service's role cannot read tokens and keys, so it has such a secret only from a request.
CREATE OR REPLACE FUNCTION require_authority(secret TEXT)
RETURNS VOID
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT is_gallery_owner()
        AND NOT EXISTS (
            SELECT FROM auth_tokens t
            JOIN administrators a ON a.user_id = t.user_id
            WHERE t.token = secret
                AND t.is_active
                AND t.password_given
                AND (t.expires_at IS NULL OR t.expires_at > LOCALTIMESTAMP)
        )
        AND NOT EXISTS (SELECT FROM api_keys k WHERE k.key = secret AND k.revoked_at IS NULL AND 'admin' = ANY (k.scopes))
    THEN
        RAISE EXCEPTION 'only an administrator, or the owner of the gallery, may do this'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END;
$$;

COMMENT ON FUNCTION require_authority(text) IS
    'Internal: raises an error unless the secret is the SHA-256 of an administrator''s token, from a login with a password, or of '
    'a key with the scope admin. The owner needs no secret.';

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

COMMENT ON FUNCTION blank_password(text) IS
    'Internal: a password''s hash with its salt and costs, but without its digest. That is enough to compute the hash of a '
    'password, but not to check it. Empty if the text is not a hash, so that no role can read a plain password.';

-- ================================================
-- 5. TRIGGERS, each with its internal function
-- ================================================

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

COMMENT ON FUNCTION update_updated_at_column() IS 'Internal: sets updated_at of a changed row.';

CREATE OR REPLACE TRIGGER update_face_embeddings_updated_at
BEFORE UPDATE ON face_embeddings
FOR EACH ROW
EXECUTE FUNCTION update_updated_at_column();

-- A file loses its row by DELETE, with its user, by TRUNCATE, or because the row gets another file. The function runs with its
-- owner's rights, so that a role needs rights only on the specification's four tables.
CREATE OR REPLACE FUNCTION remember_deleted_photo_file()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    -- Paths that pgface writes start with the gallery's id. pgface must not delete other files.
    own_prefix CONSTANT TEXT := (SELECT g.id || '/' FROM gallery g);
    path TEXT;
BEGIN
    -- A distributed PostgreSQL refuses INSERT ... SELECT here, so the rows are inserted one by one.
    IF TG_OP = 'TRUNCATE' THEN
        FOR path IN SELECT p.filepath FROM photos p WHERE starts_with(p.filepath, own_prefix) LOOP
            INSERT INTO deleted_photo_files (filepath) VALUES (path) ON CONFLICT DO NOTHING;
        END LOOP;
    ELSIF starts_with(OLD.filepath, own_prefix) THEN
        INSERT INTO deleted_photo_files (filepath) VALUES (OLD.filepath) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION remember_deleted_photo_file() IS
    'Internal: lists the file of a deleted photo, so that pgface deletes it.';

CREATE OR REPLACE TRIGGER remember_deleted_photo_file
AFTER DELETE ON photos
FOR EACH ROW
EXECUTE FUNCTION remember_deleted_photo_file();

CREATE OR REPLACE TRIGGER remember_replaced_photo_file
AFTER UPDATE OF filepath ON photos
FOR EACH ROW
WHEN (OLD.filepath IS DISTINCT FROM NEW.filepath)
EXECUTE FUNCTION remember_deleted_photo_file();

CREATE OR REPLACE TRIGGER remember_truncated_photo_files
BEFORE TRUNCATE ON photos
FOR EACH STATEMENT
EXECUTE FUNCTION remember_deleted_photo_file();

CREATE OR REPLACE FUNCTION remember_stale_templates()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM user_templates;
        DELETE FROM stale_templates;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        -- Waits for a session that is making this user's templates, and then sees them.
        PERFORM FROM users u WHERE u.id = OLD.user_id FOR SHARE;
        -- When the user is deleted, foreign keys delete the templates.
        IF FOUND THEN
            -- Now and not later, because a deleted embedding must not remain in a mean.
            DELETE FROM user_templates t WHERE t.user_id = OLD.user_id;
            INSERT INTO stale_templates (user_id) VALUES (OLD.user_id);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO stale_templates (user_id) VALUES (NEW.user_id);
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION remember_stale_templates() IS
    'Internal: marks the user of a changed embedding as stale, and deletes the templates that include the embedding.';

CREATE OR REPLACE TRIGGER remember_stale_templates
AFTER INSERT OR DELETE ON face_embeddings
FOR EACH ROW
EXECUTE FUNCTION remember_stale_templates();

-- Not IS DISTINCT FROM, because pg_dump writes its operator without the schema, and a restore does not find pgvector's. Both
-- columns are NOT NULL, so <> is equivalent.
CREATE OR REPLACE TRIGGER remember_stale_templates_of_changed
AFTER UPDATE ON face_embeddings
FOR EACH ROW
WHEN (OLD.embedding <> NEW.embedding OR OLD.user_id <> NEW.user_id)
EXECUTE FUNCTION remember_stale_templates();

CREATE OR REPLACE TRIGGER remove_templates_of_truncated
AFTER TRUNCATE ON face_embeddings
FOR EACH STATEMENT
EXECUTE FUNCTION remember_stale_templates();

CREATE OR REPLACE FUNCTION remove_used_frames()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    -- Citus cannot join the table of deleted rows with other tables.
    of_users INTEGER[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM used_frames;
        RETURN NULL;
    END IF;
    of_users := ARRAY(SELECT DISTINCT g.user_id FROM gone g);
    DELETE FROM used_frames f
    WHERE f.user_id IN (SELECT unnest(of_users))
        AND NOT EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = f.user_id)
        AND NOT EXISTS (SELECT FROM contested_faces c WHERE c.user_id = f.user_id);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION remove_used_frames() IS
    'Internal: deletes the digests of used frames with the last face of their user, enrolled or contested.';

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

CREATE OR REPLACE FUNCTION forget_calibration()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM confidence_anchors;
    IF NEW.verify_threshold = OLD.verify_threshold THEN
        NEW.verify_threshold := 0.7;
    END IF;
    IF NEW.identify_threshold = OLD.identify_threshold THEN
        NEW.identify_threshold := 0.7;
    END IF;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION forget_calibration() IS
    'Internal: deletes the confidence anchors when the gallery gets another model, and resets thresholds that did not change with '
    'it to the specification''s. Calibrations stay, because each names its model.';

CREATE OR REPLACE TRIGGER forget_calibration
BEFORE UPDATE ON gallery
FOR EACH ROW
-- Without the names of columns that a later version renames, because this script can run again.
WHEN (
    to_jsonb(OLD) - '{id, created_at, verify_threshold, identify_threshold}'::TEXT[]
    IS DISTINCT FROM to_jsonb(NEW) - '{id, created_at, verify_threshold, identify_threshold}'::TEXT[]
)
EXECUTE FUNCTION forget_calibration();

-- Embeddings from before these triggers, such as those of the specification's own script.
DO $$ BEGIN PERFORM note_users_not_searched(); END $$;

-- ================================================
-- 6. RIGHTS
-- ================================================

-- The search functions read these tables with their caller's rights. They contain no personal data.
GRANT SELECT ON gallery, gallery_search, calibrations, confidence_anchors TO PUBLIC;

-- The procedure builds indexes, which only the owner of the tables can do.
REVOKE EXECUTE ON PROCEDURE fit_search(TEXT, FLOAT) FROM PUBLIC;

-- These functions run with their owner's rights. Without the REVOKE, any role could attach them to its own tables.
REVOKE EXECUTE ON FUNCTION
    remember_deleted_photo_file(), remember_stale_templates(), remove_used_frames(), forget_calibration()
FROM PUBLIC;

-- `pgface roles create` grants the functions of section 3 to the service's role. Only those call the internal ones.
REVOKE EXECUTE ON FUNCTION
    is_gallery_owner(), require_authority(TEXT), find_session(TEXT),
    begin_session(INTEGER, TEXT, REAL, BOOLEAN, TEXT, FLOAT), end_sessions(INTEGER, INTEGER, TEXT, TEXT),
    blank_password(TEXT), find_password(TEXT[]), confirm_password(INTEGER, TEXT[]),
    set_password(INTEGER, TEXT, TEXT, TEXT), password_kinds(TEXT), has_password(INTEGER), find_api_key(TEXT),
    create_api_key(TEXT, TEXT, TEXT[], TEXT), revoke_api_key(INTEGER, TEXT),
    record_event(TEXT, TEXT, TEXT, INTEGER, INTEGER, INET, REAL), prune_audit_log(INTEGER)
FROM PUBLIC;
