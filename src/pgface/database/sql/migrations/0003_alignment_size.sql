-- Landmarks are found again in a close look at each face, so the size of the first search no longer changes an embedding. The
-- gallery records the size of the close look: 256 pixels for sface, 128 for InsightFace's models, none for dlib. Embeddings and
-- calibrations from before stay in use, because the same face has a cosine of 0.98 with and without the close look.
DO $$
DECLARE
    home CONSTANT TEXT := current_schema();
    changed TEXT;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass(format('%I.gallery', home)) AND attname = 'detector_size' AND NOT attisdropped
    ) THEN
        RETURN;
    END IF;
    -- The trigger would delete the confidence scale.
    EXECUTE format('ALTER TABLE %I.gallery DISABLE TRIGGER forget_calibration', home);
    FOREACH changed IN ARRAY ARRAY['gallery', 'calibrations'] LOOP
        EXECUTE format('ALTER TABLE %I.%I RENAME COLUMN detector_size TO alignment_size', home, changed);
        EXECUTE format(
            'UPDATE %I.%I SET alignment_size = CASE model_name WHEN ''sface'' THEN 256 ELSE 128 END WHERE alignment_size > 0',
            home, changed
        );
    END LOOP;
    EXECUTE format('ALTER TABLE %I.gallery ENABLE TRIGGER forget_calibration', home);
END;
$$;
