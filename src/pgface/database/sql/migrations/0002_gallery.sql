-- What pgface adds beside the specification's tables. Every added column has a default, so that SQL written
-- for the specification goes on working.

-- The gallery itself, one row: embeddings of two models cannot be compared, so it is bound to one. Until a model
-- is bound, the thresholds are the specification's.
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

-- The planner takes a table that it does not know for ten pages long; it would then plan every prepared call of
-- verify_face anew, to save itself the look at this one row.
ANALYZE gallery;

-- It holds nothing personal, and the search functions read it with the rights of whoever calls them.
GRANT SELECT ON gallery TO PUBLIC;

-- SHA-256 of the photo as it was given, in hexadecimal: the same photo is enrolled once for a user.
ALTER TABLE photos ADD COLUMN IF NOT EXISTS content_sha256 TEXT DEFAULT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS idx_photos_user_content ON photos(user_id, content_sha256);

-- What enrollment learned about the face: the detector's score, its box in pixels of the photo, its quality.
-- Plain numbers, because anything of variable length would be moved out of these 2 kB rows.
ALTER TABLE face_embeddings
    ADD COLUMN IF NOT EXISTS detection_score REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS box_x REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS box_y REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS box_width REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS box_height REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS sharpness REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS brightness REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS yaw REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS pitch REAL DEFAULT NULL,
    ADD COLUMN IF NOT EXISTS roll REAL DEFAULT NULL;

CREATE INDEX IF NOT EXISTS idx_users_lower_email ON users(lower(email));

-- Files of photos that are gone from the tables. Noted in the transaction that deletes the row, whoever deletes it and
-- however: by SQL, by a user's deletion, by TRUNCATE, or by giving the row another file. SECURITY DEFINER, so that a role
-- with rights on the specification's four tables needs none here.
CREATE TABLE IF NOT EXISTS deleted_photo_files (
    filepath TEXT PRIMARY KEY,
    deleted_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION remember_deleted_photo_file()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    -- The paths that pgface writes begin with the gallery's id; any other file is not its own to remove.
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO deleted_photo_files (filepath)
        SELECT p.filepath FROM photos p, gallery g WHERE starts_with(p.filepath, g.id || '/')
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO deleted_photo_files (filepath)
        SELECT OLD.filepath FROM gallery g WHERE starts_with(OLD.filepath, g.id || '/')
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END;
$$;

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
