-- Thresholds that can be explained: every one that was set, what it was set from, and what a similarity means.

-- One row for each threshold that was set by calibration; those of the gallery's present model count.
CREATE TABLE IF NOT EXISTS calibrations (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    calibrated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    kind TEXT NOT NULL CHECK (kind IN ('verify', 'identify')),
    threshold FLOAT NOT NULL,
    -- At which the photos show the target, with its 95 % interval; the one that is set is its upper end, or above.
    threshold_likely FLOAT NOT NULL,
    threshold_low FLOAT NOT NULL,
    threshold_high FLOAT NOT NULL,
    threshold_before FLOAT NOT NULL,
    -- The FMR of verify, the FPIR of identify: what was asked for, and what the threshold has, with its 95 % interval.
    target FLOAT NOT NULL,
    rate FLOAT NOT NULL,
    rate_low FLOAT NOT NULL,
    rate_high FLOAT NOT NULL,
    -- Whether there were too few comparisons to count, so that the tail of their similarities tells.
    extrapolated BOOLEAN NOT NULL,
    -- The FNMR of verify, the FNIR of identify; NULL where a threshold follows the number of people and nothing was measured anew.
    miss_rate FLOAT,
    miss_rate_low FLOAT,
    miss_rate_high FLOAT,
    -- Of identify: for how many enrolled people, and the tail by which it goes for other numbers.
    people_enrolled INTEGER,
    tail_start FLOAT,
    tail_share FLOAT,
    tail_scale FLOAT,
    tail_shape FLOAT,
    -- What it was measured on.
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

-- What a similarity means for the gallery's model, as a confidence of 0 to 100: 80, 90, 95 and 99 are reached by one pair of
-- strangers in 1,000, 10,000, 100,000 and a million.
CREATE TABLE IF NOT EXISTS confidence_anchors (
    similarity FLOAT PRIMARY KEY,
    confidence FLOAT NOT NULL,
    fmr FLOAT NOT NULL,
    extrapolated BOOLEAN NOT NULL
);

-- They hold nothing personal.
GRANT SELECT ON calibrations, confidence_anchors TO PUBLIC;

-- similarity_confidence(similarity)
-- The confidence, 0 to 100, of a similarity that find_similar_faces or verify_face gave; NULL of NULL or NaN, and while there are
-- no anchors.
CREATE OR REPLACE FUNCTION similarity_confidence(similarity float)
RETURNS float
LANGUAGE sql STABLE STRICT
BEGIN ATOMIC
    SELECT below.confidence
        + (above.confidence - below.confidence)
        * (LEAST(GREATEST(similarity_confidence.similarity, -1), 1) - below.similarity)
        / (above.similarity - below.similarity)
    FROM (
        SELECT points.similarity, points.confidence
        FROM (
            SELECT a.similarity, a.confidence FROM confidence_anchors a
            UNION ALL SELECT -1, 0
        ) points
        WHERE points.similarity <= GREATEST(similarity_confidence.similarity, -1)
        ORDER BY points.similarity DESC
        LIMIT 1
    ) below,
    (
        SELECT points.similarity, points.confidence
        FROM (
            SELECT a.similarity, a.confidence FROM confidence_anchors a
            UNION ALL SELECT 1, 100
        ) points
        WHERE points.similarity > LEAST(similarity_confidence.similarity, 0.999999999)
        ORDER BY points.similarity
        LIMIT 1
    ) above
    WHERE EXISTS (SELECT FROM confidence_anchors) AND similarity_confidence.similarity <> 'NaN';
END;

-- Thresholds of one model mean nothing for another: unless others are set together with it, they are the specification's again.
-- The history stays, since it tells of what was decided then; each row names its model.
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

CREATE OR REPLACE TRIGGER forget_calibration
BEFORE UPDATE ON gallery
FOR EACH ROW
WHEN (
    OLD.model_name IS DISTINCT FROM NEW.model_name
    OR OLD.detector_size IS DISTINCT FROM NEW.detector_size
    OR OLD.weights_sha256 IS DISTINCT FROM NEW.weights_sha256
)
EXECUTE FUNCTION forget_calibration();

-- Functions of triggers act with their owner's rights. A trigger that is there fires for anybody, but nobody else may attach
-- them to a table of their own.
REVOKE EXECUTE ON FUNCTION remember_deleted_photo_file(), remember_stale_templates(), forget_calibration() FROM PUBLIC;
