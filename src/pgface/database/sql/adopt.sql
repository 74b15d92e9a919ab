-- Upgrades a database that the specification's own script has made. It keeps its rows, and its tables get the columns of schema.sql.
-- The tables are named with their schema, because pgvector's schema follows in the search_path and may have tables of these names.
DO $$
DECLARE
    home CONSTANT TEXT := current_schema();
    embeddings CONSTANT REGCLASS := to_regclass(format('%I.face_embeddings', home));
    without_cosine BIGINT;
BEGIN
    IF EXISTS (SELECT FROM pgface_migrations) THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE IF EXISTS %I.photos ADD COLUMN IF NOT EXISTS content_sha256 TEXT DEFAULT NULL', home);
    EXECUTE format('ALTER TABLE IF EXISTS %I.auth_tokens ADD COLUMN IF NOT EXISTS password_given BOOLEAN DEFAULT FALSE', home);
    EXECUTE format(
        'ALTER TABLE IF EXISTS %I.face_embeddings
            ADD COLUMN IF NOT EXISTS detection_score REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS box_x REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS box_y REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS box_width REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS box_height REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS sharpness REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS brightness REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS yaw REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS pitch REAL DEFAULT NULL,
            ADD COLUMN IF NOT EXISTS roll REAL DEFAULT NULL',
        home
    );
    IF embeddings IS NULL OR EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = embeddings AND conname = 'embedding_has_a_cosine_so_it_is_not_zero_or_nan'
    ) THEN
        RETURN;
    END IF;
    SELECT count(*) INTO without_cosine
    FROM face_embeddings
    WHERE NOT vector_norm(embedding) BETWEEN 1e-15 AND 1e15;
    IF without_cosine > 0 THEN
        RAISE EXCEPTION '% embeddings are zero vectors, which have no cosine and would match every user. Delete '
            'them first: DELETE FROM face_embeddings WHERE NOT vector_norm(embedding) BETWEEN 1e-15 AND 1e15',
            without_cosine
            USING ERRCODE = 'check_violation';
    END IF;
    ALTER TABLE face_embeddings
        ALTER COLUMN embedding SET STORAGE PLAIN,
        ADD CONSTRAINT embedding_has_a_cosine_so_it_is_not_zero_or_nan
            CHECK (vector_norm(embedding) BETWEEN 1e-15 AND 1e15);
END
$$;
