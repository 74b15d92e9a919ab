-- Photos, embeddings and contested faces: enrolling, listing, deleting, and the files that belong to them.

-- lock_enrollment --
-- Held by every enrollment until it commits, so that two of them cannot both find a face free, and so that
-- the clean-up knows that no photo file is under way. Galleries do not wait for one another.
SELECT name FROM gallery_locks WHERE name = 'enrollment' FOR UPDATE;

-- try_lock_enrollment --
-- No row comes back while another session holds it.
SELECT name FROM gallery_locks WHERE name = 'enrollment' FOR UPDATE SKIP LOCKED;

-- insert_embedding --
INSERT INTO face_embeddings (user_id, embedding)
VALUES (%(user_id)s, %(embedding)s)
RETURNING id;

-- select_enrolled_hashes --
-- Which photos the users of a folder have already.
SELECT u.email, p.content_sha256
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE lower(u.email) = ANY(%(spellings)s)
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

-- select_photo --
SELECT p.id, p.user_id, u.email, p.filename, p.filepath, p.width, p.height, p.created_at
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE p.id = %(id)s;

-- select_embeddings --
SELECT fe.embedding, fe.id, u.id, u.email, p.id, p.filename, p.filepath,
    LEAST(fe.box_width, fe.box_height), fe.sharpness, fe.brightness, fe.yaw, fe.pitch, fe.roll
FROM face_embeddings fe
JOIN users u ON u.id = fe.user_id
LEFT JOIN photos p ON p.id = fe.photo_id
ORDER BY fe.user_id, fe.id;

-- delete_photo_embeddings --
-- The specification only unlinks them; a person who has a photo erased means the face in it.
DELETE FROM face_embeddings
WHERE photo_id = %(id)s;

-- delete_photo --
DELETE FROM photos
WHERE id = %(id)s
RETURNING user_id;

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

-- try_share_photo_files --
-- Held while files of erased rows are removed. No row comes back while a backup copies the files.
SELECT name FROM gallery_locks WHERE name = 'photo files' FOR SHARE SKIP LOCKED;

-- count_photo_files --
-- Rows whose files belong to this photos folder, to another one, and to nothing that pgface writes.
SELECT
    count(*) FILTER (WHERE ours AND starts_with(filepath, %(prefix)s)) AS here,
    count(*) FILTER (WHERE ours AND NOT starts_with(filepath, %(prefix)s)) AS elsewhere,
    count(*) FILTER (WHERE NOT ours) AS foreign
FROM photos
CROSS JOIN LATERAL (
    SELECT filepath ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{32}/[0-9a-f]{2}/[0-9a-f]{32}\.jpg$' AS ours
) AS kind;

-- photo_files_in_order --
SELECT filepath
FROM photos
WHERE starts_with(filepath, %(prefix)s)
ORDER BY filepath COLLATE "C";

-- accounted_photo_files --
-- Those of rows, and those of erased rows that are noted to be removed.
SELECT filepath
FROM photos
WHERE filepath = ANY(%(filepaths)s)
UNION ALL
SELECT filepath
FROM deleted_photo_files
WHERE filepath = ANY(%(filepaths)s);

-- count_photos_of_user --
SELECT count(*) FROM photos WHERE user_id = %(user_id)s;

-- copy_contested_faces --
COPY contested_faces (
    user_id, photo_id, embedding, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
FROM STDIN (FORMAT BINARY);

-- select_contested_faces --
-- Of a user, or all, with the photo that each is in.
SELECT cf.photo_id, cf.user_id, u.name, u.email, p.filename, cf.created_at, cf.embedding
FROM contested_faces cf
JOIN users u ON u.id = cf.user_id
JOIN photos p ON p.id = cf.photo_id
WHERE (%(user_id)s::integer IS NULL OR cf.user_id = %(user_id)s)
    AND (%(photo_id)s::integer IS NULL OR cf.photo_id = %(photo_id)s)
    AND cf.photo_id > %(after)s
ORDER BY cf.photo_id
LIMIT %(limit)s;

-- accept_contested_face --
WITH accepted AS (
    DELETE FROM contested_faces WHERE photo_id = %(photo_id)s RETURNING *
)
INSERT INTO face_embeddings (
    id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
FROM accepted
RETURNING user_id;

-- is_contested --
SELECT EXISTS (SELECT FROM contested_faces WHERE photo_id = %(photo_id)s);

-- vacuum_embeddings --
-- After a load of many: scans need not ask any more who may see each row, and the planner knows how many there are.
VACUUM (ANALYZE, SKIP_LOCKED) face_embeddings;
