-- Faces with lasting ids, for programs that were written for another service. A face without a person has a user of its own.

-- select_indexed_faces --
-- The faces in the order in which they were enrolled.
SELECT f.face_id, f.image_id, f.external_image_id, fe.id AS embedding_id, fe.user_id,
    person_key(u.id, u.external_id, u.is_person) AS person,
    fe.detection_score, fe.box_x, fe.box_y, fe.box_width, fe.box_height, f.image_width, f.image_height
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
JOIN users u ON u.id = fe.user_id
WHERE fe.id > %(after)s
    AND (%(face_ids)s::uuid[] IS NULL OR f.face_id = ANY (%(face_ids)s))
    AND (%(user_id)s::integer IS NULL OR fe.user_id = %(user_id)s)
ORDER BY fe.id
LIMIT %(limit)s;

-- select_indexed_faces_of_photo --
-- The faces that were indexed from the same file with the same id of the caller.
SELECT f.face_id, f.image_id, f.external_image_id, fe.id AS embedding_id, fe.user_id,
    person_key(u.id, u.external_id, u.is_person) AS person,
    fe.detection_score, fe.box_x, fe.box_y, fe.box_width, fe.box_height, f.image_width, f.image_height
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
JOIN users u ON u.id = fe.user_id
WHERE f.image_sha256 = %(image_sha256)s
    AND f.external_image_id IS NOT DISTINCT FROM %(external_image_id)s
ORDER BY fe.id;

-- insert_indexed_face --
-- A user of its own, the photo, the face and its ids.
WITH person AS (
    INSERT INTO users (name, email, password, is_person)
    VALUES ('face', %(email)s, '!', FALSE)
    RETURNING id
),
photo AS (
    INSERT INTO photos (user_id, filename, filepath, width, height, content_sha256)
    SELECT id, %(filename)s, %(filepath)s, %(side)s, %(side)s, %(image_sha256)s FROM person
    RETURNING id, user_id
),
face AS (
    INSERT INTO face_embeddings (
        user_id, photo_id, embedding, detection_score,
        box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
    )
    SELECT
        user_id, id, %(embedding)s, %(detection_score)s::real,
        %(box_x)s::real, %(box_y)s::real, %(box_width)s::real, %(box_height)s::real,
        %(sharpness)s::real, %(brightness)s::real, %(yaw)s::real, %(pitch)s::real, %(roll)s::real
    FROM photo
    RETURNING id, user_id
),
ids AS (
    INSERT INTO face_ids (face_id, embedding_id, image_id, external_image_id, image_sha256, image_width, image_height)
    SELECT %(face_id)s, id, %(image_id)s, %(external_image_id)s, %(image_sha256)s, %(image_width)s, %(image_height)s
    FROM face
)
SELECT id, user_id FROM face;

-- add_missing_face_ids --
-- For faces that were enrolled without ids: those with these embeddings, or all.
INSERT INTO face_ids (embedding_id)
SELECT fe.id
FROM face_embeddings fe
WHERE (%(embedding_ids)s::integer[] IS NULL OR fe.id = ANY (%(embedding_ids)s))
    AND NOT EXISTS (SELECT FROM face_ids f WHERE f.embedding_id = fe.id)
ON CONFLICT DO NOTHING;

-- search_indexed_faces --
-- Every face of the most similar users. These contain the most similar faces. It refuses an embedding of an earlier model.
WITH nearest AS MATERIALIZED (
    SELECT s.user_id
    FROM find_similar_faces(%(embedding)s, %(threshold)s, %(max_users)s) s
    WHERE %(model_changes)s = (SELECT model_changes FROM gallery) OR refuse_earlier_model()
)
SELECT f.face_id, f.image_id, f.external_image_id, fe.id AS embedding_id, fe.user_id,
    person_key(u.id, u.external_id, u.is_person) AS person,
    fe.detection_score, fe.box_x, fe.box_y, fe.box_width, fe.box_height, f.image_width, f.image_height,
    1 - (fe.embedding <=> %(embedding)s) AS similarity
FROM nearest n
JOIN users u ON u.id = n.user_id
JOIN face_embeddings fe ON fe.user_id = n.user_id
LEFT JOIN face_ids f ON f.embedding_id = fe.id
WHERE 1 - (fe.embedding <=> %(embedding)s) >= %(threshold)s
    AND fe.id IS DISTINCT FROM %(except_embedding_id)s::integer
ORDER BY similarity DESC, fe.id
LIMIT %(limit)s;

-- search_people --
-- The most similar users, and whether each is a person or a face without one. It refuses an embedding of an earlier model.
SELECT s.user_id, person_key(u.id, u.external_id, u.is_person) AS person, s.similarity
FROM find_similar_faces(%(embedding)s, %(threshold)s, %(max_users)s) s
JOIN users u ON u.id = s.user_id
WHERE %(model_changes)s = (SELECT model_changes FROM gallery) OR refuse_earlier_model()
ORDER BY s.similarity DESC, s.embedding_id;

-- search_people_only --
-- As search_people, but faces without a person are left out before the search.
SELECT s.user_id, person_key(u.id, u.external_id, u.is_person) AS person, s.similarity
FROM find_similar_faces_among(%(embedding)s, '{}', %(threshold)s, %(max_users)s, people_only => TRUE) s
JOIN users u ON u.id = s.user_id
WHERE %(model_changes)s = (SELECT model_changes FROM gallery) OR refuse_earlier_model()
ORDER BY s.similarity DESC, s.embedding_id;

-- select_embedding_of_face --
SELECT fe.id, fe.embedding, fe.user_id
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
WHERE f.face_id = %(face_id)s;

-- select_embeddings_of_person --
SELECT embedding FROM face_embeddings WHERE user_id = %(user_id)s ORDER BY id LIMIT 100;

-- similarity_to_user --
SELECT max(1 - (fe.embedding <=> one.embedding))
FROM face_embeddings one, face_embeddings fe
WHERE one.id = %(embedding_id)s AND fe.user_id = %(user_id)s;

-- find_person --
-- The user with an external id, or with an id.
SELECT u.id, (SELECT count(*) FROM face_embeddings fe WHERE fe.user_id = u.id) AS faces
FROM users u
WHERE (u.external_id = %(person)s OR u.id = %(user_id)s::integer)
    AND person_key(u.id, u.external_id, u.is_person) = %(person)s
FOR NO KEY UPDATE;

-- insert_person --
-- Returns no row if a user has this external id or e-mail.
INSERT INTO users (name, email, password, external_id)
VALUES (%(person)s::text, %(email)s, '!', %(person)s::text)
ON CONFLICT DO NOTHING
RETURNING id;

-- select_people --
SELECT u.id, person_key(u.id, u.external_id, u.is_person) AS person,
    EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id) AS has_faces
FROM users u
WHERE u.is_person
    AND u.id > %(after)s
ORDER BY u.id
LIMIT %(limit)s;

-- move_photo_of_face --
-- A user has each photo once, so the hash of a second one with the same content is left out.
UPDATE photos p
SET user_id = %(into)s,
    content_sha256 = CASE
        WHEN EXISTS (SELECT FROM photos k WHERE k.user_id = %(into)s AND k.content_sha256 = p.content_sha256) THEN NULL
        ELSE p.content_sha256
    END
FROM face_embeddings fe
WHERE fe.id = %(embedding_id)s
    AND p.id = fe.photo_id;

-- move_face --
UPDATE face_embeddings SET user_id = %(into)s WHERE id = %(embedding_id)s;

-- insert_user_of_face --
INSERT INTO users (name, email, password, is_person)
VALUES ('face', %(email)s, '!', FALSE)
RETURNING id;

-- delete_users_of_faces --
-- Only users that are no person. Their photos and embeddings are deleted with them.
DELETE FROM users WHERE id = ANY (%(ids)s) AND NOT is_person;

-- select_embedding_ids_of_user --
SELECT id FROM face_embeddings WHERE user_id = %(user_id)s ORDER BY id;

-- select_faces_of_images --
-- The faces that have one of these ids of the caller.
SELECT f.face_id, f.image_id, f.external_image_id, fe.id AS embedding_id, fe.user_id,
    person_key(u.id, u.external_id, u.is_person) AS person,
    fe.detection_score, fe.box_x, fe.box_y, fe.box_width, fe.box_height, f.image_width, f.image_height
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
JOIN users u ON u.id = fe.user_id
WHERE f.external_image_id = ANY (%(external_image_ids)s)
ORDER BY fe.id;

-- set_face_ids --
-- Returns no row if another face has the new id.
UPDATE face_ids f
SET face_id = %(face_id)s, image_id = coalesce(%(image_id)s::uuid, f.image_id)
WHERE f.embedding_id = %(embedding_id)s
    AND NOT EXISTS (SELECT FROM face_ids other WHERE other.face_id = %(face_id)s AND other.embedding_id <> f.embedding_id)
RETURNING f.embedding_id;

-- count_indexed --
SELECT
    (SELECT count(*) FROM face_embeddings) AS faces,
    (SELECT count(*) FROM users WHERE is_person) AS people,
    (SELECT created_at FROM gallery) AS created_at;

-- select_gallery_tags --
SELECT key, value FROM gallery_tags ORDER BY key;

-- set_gallery_tag --
INSERT INTO gallery_tags (key, value) VALUES (%(key)s, %(value)s)
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value;

-- delete_gallery_tags --
DELETE FROM gallery_tags WHERE key = ANY (%(keys)s);
