-- Where the face crops are stored: in the folder of a machine, in photo_crops, or in an S3-compatible store. The second part of
-- photos.filepath is the id of the store.
ALTER TABLE gallery ADD COLUMN IF NOT EXISTS photo_store TEXT NOT NULL DEFAULT 'folder';
-- Other S3-compatible stores that may still have objects of this gallery.
ALTER TABLE gallery ADD COLUMN IF NOT EXISTS former_photo_stores TEXT[] NOT NULL DEFAULT '{}';

-- As before, but another photo store is no change of the model, so the thresholds and the confidence scale stay.
CREATE OR REPLACE TRIGGER forget_calibration
BEFORE UPDATE ON gallery
FOR EACH ROW
WHEN (
    to_jsonb(OLD) - '{id, created_at, verify_threshold, identify_threshold, photo_store, former_photo_stores}'::TEXT[]
    IS DISTINCT FROM
        to_jsonb(NEW) - '{id, created_at, verify_threshold, identify_threshold, photo_store, former_photo_stores}'::TEXT[]
)
EXECUTE FUNCTION forget_calibration();

-- When pgface has begun to write an object whose photo is not committed yet. NULL for the file of a deleted photo.
ALTER TABLE deleted_photo_files ADD COLUMN IF NOT EXISTS written_at TIMESTAMPTZ DEFAULT NULL;

-- Crops, if the gallery's photo store is postgres. They are out of line and not compressed, because JPEG is compressed already.
-- No list of photos reads this table.
CREATE TABLE IF NOT EXISTS photo_crops (
    filepath TEXT PRIMARY KEY,
    jpeg BYTEA STORAGE EXTERNAL NOT NULL
);

-- ANALYZE would copy small crops into PostgreSQL's statistics, where they would outlive the rows that they come from.
DO $$
BEGIN
    ALTER TABLE photo_crops ALTER COLUMN jpeg SET STATISTICS 0;
EXCEPTION WHEN feature_not_supported THEN
    RAISE WARNING 'this server keeps statistics of crops. Set STATISTICS 0 on each node (%)', SQLERRM;
END
$$;

-- As before, and crops in photo_crops are deleted in the same transaction.
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
        FOR path IN
            SELECT p.filepath FROM photos p
            WHERE starts_with(p.filepath, own_prefix) AND NOT starts_with(p.filepath, own_prefix || 'postgres/')
        LOOP
            INSERT INTO deleted_photo_files (filepath) VALUES (path) ON CONFLICT DO NOTHING;
        END LOOP;
        DELETE FROM photo_crops;
    ELSIF starts_with(OLD.filepath, own_prefix || 'postgres/') THEN
        DELETE FROM photo_crops c WHERE c.filepath = OLD.filepath;
    ELSIF starts_with(OLD.filepath, own_prefix) THEN
        INSERT INTO deleted_photo_files (filepath) VALUES (OLD.filepath) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION remember_deleted_photo_file() IS
    'Internal: deletes the crop of a deleted photo, or lists its file, so that pgface deletes it.';
