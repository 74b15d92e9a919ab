-- Every statement that Python runs against a gallery. Tables are found through the search_path.

-- select_gallery --
SELECT id, model_name, dimension, detector_size, weights_sha256, verify_threshold, identify_threshold
FROM gallery;

-- bind_gallery --
-- Only an unbound gallery is bound; no row comes back for one that is bound already.
UPDATE gallery
SET model_name = %(name)s,
    dimension = %(dimension)s,
    detector_size = %(detector_size)s,
    weights_sha256 = %(weights_sha256)s,
    verify_threshold = %(verify_threshold)s,
    identify_threshold = %(identify_threshold)s
WHERE model_name IS NULL
RETURNING id;

-- lock_enrollment --
-- Held by every enrollment until it commits, so that two of them cannot both find a face free, and so that
-- the clean-up knows that no photo file is under way. Galleries do not wait for one another.
SELECT pg_advisory_xact_lock(hashtext('pgface.enrollment'), 'gallery'::regclass::oid::integer);

-- try_lock_enrollment --
SELECT pg_try_advisory_xact_lock(hashtext('pgface.enrollment'), 'gallery'::regclass::oid::integer);

-- find_similar_faces --
SELECT user_id, user_name AS name, user_email AS email, similarity, embedding_id
FROM find_similar_faces(%(embedding)s, %(threshold)s, %(max_results)s);

-- verify_face --
SELECT match, similarity, user_name AS name, user_email AS email
FROM verify_face(%(embedding)s, %(user_id)s, %(threshold)s);

-- insert_user --
-- No row comes back if somebody else has added this e-mail.
INSERT INTO users (name, email, password)
VALUES (%(name)s, %(email)s, %(password)s)
ON CONFLICT (email) DO NOTHING
RETURNING id, name, email, created_at, 0 AS photos, 0 AS embeddings;

-- insert_users --
INSERT INTO users (name, email, password)
SELECT name, email, %(password)s
FROM unnest(%(names)s::text[], %(emails)s::text[]) AS given(name, email)
ON CONFLICT (email) DO NOTHING;

-- select_user_ids --
SELECT lower(email), min(id)
FROM users
WHERE lower(email) = ANY(%(emails)s)
GROUP BY lower(email);

-- select_user --
SELECT u.id, u.name, u.email, u.created_at,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id) AS embeddings
FROM users u
WHERE u.id = %(id)s;

-- select_user_by_email --
SELECT u.id, u.name, u.email, u.created_at,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id) AS embeddings
FROM users u
WHERE lower(u.email) = lower(%(email)s)
ORDER BY u.id
LIMIT 1;

-- select_users --
SELECT u.id, u.name, u.email, u.created_at,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id) AS embeddings
FROM users u
WHERE u.id > %(after)s
ORDER BY u.id
LIMIT %(limit)s;

-- delete_user --
DELETE FROM users
WHERE id = %(id)s
RETURNING id;

-- insert_embedding --
INSERT INTO face_embeddings (user_id, embedding)
VALUES (%(user_id)s, %(embedding)s)
RETURNING id;

-- select_enrolled_hashes --
-- Which photos the users of a folder have already.
SELECT lower(u.email), p.content_sha256
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE lower(u.email) = ANY(%(emails)s)
    AND p.content_sha256 IS NOT NULL;

-- select_photo_by_content --
SELECT id
FROM photos
WHERE user_id = %(user_id)s
    AND content_sha256 = %(content_sha256)s;

-- select_photos --
SELECT p.id, p.user_id, u.email, p.filename, p.filepath, p.width, p.height, p.created_at
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE p.id > %(after)s
    AND (%(user_id)s::integer IS NULL OR p.user_id = %(user_id)s)
ORDER BY p.id
LIMIT %(limit)s;

-- delete_photo_embeddings --
-- The specification only unlinks them; a person who has a photo erased means the face in it.
DELETE FROM face_embeddings
WHERE photo_id = %(id)s;

-- delete_photo --
DELETE FROM photos
WHERE id = %(id)s
RETURNING id;

-- allocate_photo_ids --
SELECT nextval(pg_get_serial_sequence('photos', 'id'))::integer
FROM generate_series(1, %(count)s);

-- copy_photos --
COPY photos (id, user_id, filename, filepath, width, height, content_sha256)
FROM STDIN (FORMAT BINARY);

-- copy_face_embeddings --
COPY face_embeddings (
    user_id, photo_id, embedding, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
FROM STDIN (FORMAT BINARY);

-- copy_embeddings --
COPY face_embeddings (user_id, embedding)
FROM STDIN (FORMAT BINARY);

-- existing_photo_files --
SELECT filepath
FROM photos
WHERE filepath = ANY(%(filepaths)s);

-- deleted_photo_files --
SELECT filepath
FROM deleted_photo_files
WHERE starts_with(filepath, %(prefix)s || '/')
ORDER BY deleted_at
LIMIT 10000;

-- forget_deleted_photo_files --
DELETE FROM deleted_photo_files
WHERE filepath = ANY(%(filepaths)s);

-- try_lock_index --
-- Held by the session that takes the vector index away and builds it again.
SELECT pg_try_advisory_lock(hashtext('pgface.index'), 'gallery'::regclass::oid::integer);

-- unlock_index --
SELECT pg_advisory_unlock(hashtext('pgface.index'), 'gallery'::regclass::oid::integer);

-- count_embeddings --
SELECT count(*) FROM face_embeddings;

-- vector_index --
-- The definition of the index of the specification's name, wherever the gallery lives, and whether it is whole.
SELECT pg_get_indexdef(i.indexrelid) AS definition, i.indisvalid AS valid, a.amname AS method
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam
WHERE i.indrelid = 'face_embeddings'::regclass
    AND c.relname = 'idx_embeddings_vector';

-- status --
SELECT
    current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    (SELECT max(version) FROM pgface_migrations) AS schema_version,
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM photos) AS photos,
    (SELECT count(*) FROM face_embeddings) AS embeddings;
