-- `pgface reembed`: new embeddings, made by another model, wait beside the old ones until all of them are there. Then one
-- transaction replaces the old ones.

-- How many times the gallery has got another model. A session that has embeddings of an earlier model is refused.
ALTER TABLE gallery ADD COLUMN IF NOT EXISTS model_changes INTEGER NOT NULL DEFAULT 0;

-- The model of the waiting embeddings, one row while `pgface reembed` is not finished. The model is JSON, because it is only
-- compared with the model of the next run.
CREATE TABLE IF NOT EXISTS reembedding (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    model JSONB NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The waiting embeddings. The id is the one of the old embedding, in face_embeddings or contested_faces. They are biometric
-- data, so they are deleted with the old embedding, its photo or its user.
CREATE TABLE IF NOT EXISTS reembedded_faces (
    embedding_id INTEGER PRIMARY KEY,
    photo_id INTEGER NOT NULL REFERENCES photos(id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    embedding vector(512) STORAGE PLAIN NOT NULL,
    -- Whether the embedding and the measurements are of the original photo. If not, they are of its crop. Then only the score is
    -- new, because the other measurements describe the photo.
    of_photo BOOLEAN NOT NULL,
    detection_score REAL,
    box_x REAL,
    box_y REAL,
    box_width REAL,
    box_height REAL,
    sharpness REAL,
    brightness REAL,
    yaw REAL,
    pitch REAL,
    roll REAL,
    CONSTRAINT reembedded_face_has_a_cosine CHECK (vector_norm(embedding) BETWEEN 1e-15 AND 1e15)
);

CREATE INDEX IF NOT EXISTS idx_reembedded_faces_photo_id ON reembedded_faces(photo_id);
CREATE INDEX IF NOT EXISTS idx_reembedded_faces_user_id ON reembedded_faces(user_id);

DO $$
BEGIN
    ALTER TABLE reembedded_faces ALTER COLUMN embedding SET STATISTICS 0;
EXCEPTION WHEN feature_not_supported THEN
    RAISE WARNING 'this server keeps statistics of embeddings. Set STATISTICS 0 on each node (%)', SQLERRM;
END
$$;

INSERT INTO gallery_locks (name) VALUES ('reembedding') ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION refuse_earlier_model()
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION 'the gallery has got another model since this embedding was made' USING ERRCODE = 'PGF04';
END;
$$;

COMMENT ON FUNCTION refuse_earlier_model() IS
    'Internal: raises the error of a search by an embedding of the gallery''s earlier model.';

CREATE OR REPLACE FUNCTION take_reembedding_lock()
RETURNS BOOLEAN
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    holder gallery_locks;
    began TIMESTAMPTZ;
BEGIN
    SELECT * INTO holder FROM gallery_locks l WHERE l.name = 'reembedding' FOR UPDATE;
    IF holder.process <> pg_backend_pid() AND process_is_alive(holder.process, holder.process_since) THEN
        RETURN FALSE;
    END IF;
    SELECT a.backend_start INTO began FROM pg_stat_activity a WHERE a.pid = pg_backend_pid();
    UPDATE gallery_locks l SET process = pg_backend_pid(), process_since = began WHERE l.name = 'reembedding';
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION take_reembedding_lock() IS
    'Internal: takes the lock ''reembedding'' for this session and returns TRUE, or returns FALSE if another session holds it. A '
    'session holds it while it runs pgface reembed.';

CREATE OR REPLACE FUNCTION remove_waiting_embeddings()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    -- Citus cannot join the table of deleted rows with other tables.
    ids INTEGER[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM reembedded_faces;
    ELSE
        ids := ARRAY(SELECT g.id FROM gone g);
        DELETE FROM reembedded_faces r WHERE r.embedding_id IN (SELECT unnest(ids));
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION remove_waiting_embeddings() IS
    'Internal: deletes the waiting embeddings of deleted embeddings.';

CREATE OR REPLACE TRIGGER remove_waiting_embeddings
AFTER DELETE ON face_embeddings
REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT
EXECUTE FUNCTION remove_waiting_embeddings();

CREATE OR REPLACE TRIGGER remove_waiting_embeddings_of_truncated
AFTER TRUNCATE ON face_embeddings
FOR EACH STATEMENT
EXECUTE FUNCTION remove_waiting_embeddings();

CREATE OR REPLACE TRIGGER remove_waiting_embeddings_of_contested
AFTER DELETE ON contested_faces
REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT
EXECUTE FUNCTION remove_waiting_embeddings();

REVOKE EXECUTE ON FUNCTION remove_waiting_embeddings() FROM PUBLIC;
