-- Users: adding, changing, finding, deleting and merging them.

-- insert_user --
-- Returns no row if another session has added this e-mail.
INSERT INTO users (name, email, password, external_id, labels, metadata)
VALUES (%(name)s, %(email)s, %(password)s, %(external_id)s, %(labels)s, %(metadata)s)
ON CONFLICT (email) DO NOTHING
RETURNING id, name, email, created_at, 0 AS photos, 0 AS embeddings, external_id, labels, metadata;

-- select_user --
SELECT u.id, u.name, u.email, u.created_at, u.external_id, u.labels, u.metadata,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE u.id = %(id)s;

-- select_user_by_email --
SELECT u.id, u.name, u.email, u.created_at, u.external_id, u.labels, u.metadata,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE lower(u.email) = ANY(%(spellings)s)
ORDER BY u.id
LIMIT 1;

-- select_user_by_external_id --
SELECT u.id, u.name, u.email, u.created_at, u.external_id, u.labels, u.metadata,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE u.external_id = %(external_id)s;

-- is_person --
SELECT is_person FROM users WHERE id = %(id)s;

-- update_user --
-- NULL leaves a column as it is. An empty external id deletes it.
UPDATE users
SET name = coalesce(%(name)s, name),
    external_id = nullif(coalesce(%(external_id)s, external_id), ''),
    labels = coalesce(%(labels)s, labels),
    metadata = coalesce(%(metadata)s, metadata)
WHERE id = %(id)s;

-- lock_users --
SELECT id FROM users WHERE id = ANY (%(ids)s) ORDER BY id FOR NO KEY UPDATE;

-- keep_person --
-- The user is a person if one of the merged users is.
UPDATE users SET is_person = TRUE
WHERE id = %(into)s AND NOT is_person AND (SELECT m.is_person FROM users m WHERE m.id = %(id)s);

-- select_users_by_name --
-- A folder name has underscores in place of spaces. The caller gives several spellings of a name, because in some locales lower()
-- converts only ASCII letters.
SELECT u.id, u.name, u.email, count(*) OVER () AS namesakes
FROM users u
CROSS JOIN LATERAL regexp_replace(u.name, '[_[:space:]]+', ' ', 'g') AS plain (name)
WHERE u.is_person AND (plain.name = ANY(%(spellings)s) OR lower(plain.name) = ANY(%(spellings)s))
ORDER BY u.id
LIMIT %(limit)s;

-- select_users --
SELECT u.id, u.name, u.email, u.created_at, u.external_id, u.labels, u.metadata,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE u.id > %(after)s
    AND u.is_person
    AND u.labels @> %(labels)s::text[]
    AND (%(external_id)s::text IS NULL OR u.external_id = %(external_id)s)
    AND (%(text)s::text IS NULL OR strpos(lower(u.name || ' ' || u.email), lower(%(text)s)) > 0)
ORDER BY u.id
LIMIT %(limit)s;

-- delete_user --
DELETE FROM users
WHERE id = %(id)s
RETURNING id;

-- delete_embeddings_of_user --
DELETE FROM face_embeddings
WHERE user_id = %(id)s;

-- delete_photos_of_user --
DELETE FROM photos
WHERE user_id = %(id)s;

-- move_photos --
-- Photos that the other user has already are not moved. They are deleted with the merged user.
UPDATE photos p
SET user_id = %(into)s
WHERE p.user_id = %(id)s
    AND NOT EXISTS (SELECT FROM photos k WHERE k.user_id = %(into)s AND k.content_sha256 = p.content_sha256);

-- move_embeddings --
UPDATE face_embeddings fe
SET user_id = %(into)s
WHERE fe.user_id = %(id)s
    AND (fe.photo_id IS NULL OR EXISTS (SELECT FROM photos p WHERE p.id = fe.photo_id AND p.user_id = %(into)s));

-- move_contested_faces --
-- They are no longer contested, because an administrator has decided that both users are one person. Before
-- delete_moved_contested_faces, and MATERIALIZED, as accept_contested_face.
WITH moved AS MATERIALIZED (
    SELECT cf.*
    FROM contested_faces cf
    WHERE cf.user_id = %(id)s
        AND EXISTS (SELECT FROM photos p WHERE p.id = cf.photo_id AND p.user_id = %(into)s)
)
INSERT INTO face_embeddings (
    id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT id, %(into)s::integer, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
FROM moved;

-- delete_moved_contested_faces --
DELETE FROM contested_faces cf
WHERE cf.user_id = %(id)s
    AND EXISTS (SELECT FROM photos p WHERE p.id = cf.photo_id AND p.user_id = %(into)s);

-- move_used_frames --
UPDATE used_frames SET user_id = %(into)s WHERE user_id = %(id)s;
