-- The gallery's configuration, its status, and its searches.

-- select_gallery --
SELECT
    id, model_name, dimension, alignment_size, weights_sha256, verify_threshold, identify_threshold, model_changes,
    photo_store, former_photo_stores,
    coalesce((SELECT json_agg(a ORDER BY a.similarity) FROM confidence_anchors a), '[]') AS anchors
FROM gallery;

-- bind_gallery --
-- Binds an unbound gallery. Returns no row if the gallery is bound already.
UPDATE gallery
SET model_name = %(name)s,
    dimension = %(dimension)s,
    alignment_size = %(alignment_size)s,
    weights_sha256 = %(weights_sha256)s,
    verify_threshold = %(verify_threshold)s,
    identify_threshold = %(identify_threshold)s
WHERE model_name IS NULL
RETURNING id;

-- lock_gallery_row --
-- Locked until the transaction ends, so that one program at a time changes thresholds.
SELECT id, model_name, dimension, alignment_size, weights_sha256, verify_threshold, identify_threshold
FROM gallery
FOR UPDATE;

-- set_verify_threshold --
UPDATE gallery SET verify_threshold = %(threshold)s;

-- set_identify_threshold --
UPDATE gallery SET identify_threshold = %(threshold)s;

-- insert_calibration --
INSERT INTO calibrations (
    kind, threshold, threshold_likely, threshold_low, threshold_high, threshold_before, target, rate, rate_low, rate_high, extrapolated,
    miss_rate, miss_rate_low, miss_rate_high, people_enrolled, tail_start, tail_share, tail_scale, tail_shape,
    source, people, photos, failures_to_enroll, mated_pairs, non_mated_pairs, model_name, alignment_size, weights_sha256
)
VALUES (
    %(kind)s, %(threshold)s, %(threshold_likely)s, %(threshold_low)s, %(threshold_high)s, %(threshold_before)s, %(target)s, %(rate)s,
    %(rate_low)s, %(rate_high)s, %(extrapolated)s, %(miss_rate)s, %(miss_rate_low)s, %(miss_rate_high)s,
    %(people_enrolled)s, %(tail_start)s, %(tail_share)s, %(tail_scale)s, %(tail_shape)s, %(source)s, %(people)s,
    %(photos)s, %(failures_to_enroll)s, %(mated_pairs)s, %(non_mated_pairs)s, %(model_name)s, %(alignment_size)s,
    %(weights_sha256)s
);

-- select_calibrations --
SELECT id, calibrated_at, kind, threshold, threshold_likely, threshold_low, threshold_high, threshold_before, target, rate, rate_low,
    rate_high, extrapolated, miss_rate, miss_rate_low, miss_rate_high, people_enrolled, tail_start, tail_share, tail_scale,
    tail_shape, source, people, photos, failures_to_enroll, mated_pairs, non_mated_pairs, model_name, alignment_size,
    weights_sha256
FROM calibrations
ORDER BY id DESC;

-- delete_confidence_anchors --
DELETE FROM confidence_anchors;

-- insert_confidence_anchors --
INSERT INTO confidence_anchors (similarity, confidence, fmr, extrapolated)
SELECT * FROM unnest(
    %(similarities)s::float[], %(confidences)s::float[], %(fmrs)s::float[], %(extrapolated)s::boolean[]
);

-- count_enrolled_people --
SELECT count(*) FROM users u WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id);

-- server_versions --
SELECT
    current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector;

-- schema_version --
SELECT max(version) AS schema_version FROM pgface_migrations;

-- status --
SELECT
    (SELECT max(version) FROM pgface_migrations) AS schema_version,
    (SELECT count(*) FROM users WHERE is_person) AS users,
    (SELECT count(*) FROM users u WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id)) AS people_enrolled,
    (SELECT count(*) FROM photos) AS photos,
    (SELECT count(*) FROM face_embeddings) AS embeddings;

-- find_similar_faces --
-- It refuses an embedding of an earlier model, unless model_changes is NULL.
SELECT f.user_id, f.user_name AS name, f.user_email AS email, f.similarity, f.embedding_id,
    (SELECT u.external_id FROM users u WHERE u.id = f.user_id) AS external_id
FROM find_similar_faces(%(embedding)s, %(threshold)s, %(max_results)s) f
WHERE %(model_changes)s::integer IS NULL
    OR %(model_changes)s = (SELECT model_changes FROM gallery)
    OR refuse_earlier_model();

-- find_similar_faces_among --
-- As find_similar_faces, among the people who have all of the labels.
SELECT f.user_id, f.user_name AS name, f.user_email AS email, f.similarity, f.embedding_id,
    (SELECT u.external_id FROM users u WHERE u.id = f.user_id) AS external_id
FROM find_similar_faces_among(%(embedding)s, %(labels)s, %(threshold)s, %(max_results)s, %(people_only)s) f
WHERE %(model_changes)s::integer IS NULL
    OR %(model_changes)s = (SELECT model_changes FROM gallery)
    OR refuse_earlier_model();

-- verify_face --
-- Compares the user's contested faces as well: they are the user's until an administrator decides otherwise. It refuses an
-- embedding of an earlier model.
SELECT
    v.match OR coalesce(
        contested.similarity >= coalesce(%(threshold)s, (SELECT verify_threshold FROM gallery)), FALSE
    ) AS match,
    greatest(v.similarity, contested.similarity) AS similarity,
    v.user_name AS name,
    v.user_email AS email
FROM verify_face(%(embedding)s, %(user_id)s, %(threshold)s) v
CROSS JOIN LATERAL (
    SELECT max(1 - (embedding <=> %(embedding)s)) AS similarity
    FROM contested_faces
    WHERE user_id = %(user_id)s
) contested
WHERE %(model_changes)s::integer IS NULL
    OR %(model_changes)s = (SELECT model_changes FROM gallery)
    OR refuse_earlier_model();

-- require_model --
-- Raises an error if the gallery has got another model since its number of model changes was read.
SELECT %(model_changes)s::integer IS NULL
    OR %(model_changes)s = (SELECT model_changes FROM gallery)
    OR refuse_earlier_model();
