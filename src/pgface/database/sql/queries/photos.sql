-- Photos, embeddings and contested faces: enrolling, listing, deleting, and the files that belong to them.

-- lock_enrollment --
-- Every enrollment holds this lock until it commits. So two enrollments cannot both accept the same face, and the clean-up does
-- not delete a file that is being written. Each gallery has its own lock.
SELECT name FROM gallery_locks WHERE name = 'enrollment' FOR UPDATE;

-- try_lock_enrollment --
-- Returns no row while another session holds it.
SELECT name FROM gallery_locks WHERE name = 'enrollment' FOR UPDATE SKIP LOCKED;

-- insert_embedding --
INSERT INTO face_embeddings (user_id, embedding)
VALUES (%(user_id)s, %(embedding)s)
RETURNING id;

-- select_enrolled_hashes --
-- The photos that the users of a folder have already.
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
-- Without faces that no person was assigned to. Evaluation would count two of them as two people.
SELECT fe.embedding, fe.id, u.id, u.email, p.id, p.filename, p.filepath,
    LEAST(fe.box_width, fe.box_height), fe.sharpness, fe.brightness, fe.yaw, fe.pitch, fe.roll
FROM face_embeddings fe
JOIN users u ON u.id = fe.user_id AND u.is_person
LEFT JOIN photos p ON p.id = fe.photo_id
ORDER BY fe.user_id, fe.id;

-- delete_photo_embeddings --
-- The specification only unlinks them, but a user who deletes a photo wants to delete the face in it as well.
DELETE FROM face_embeddings
WHERE photo_id = %(id)s;

-- delete_photo --
DELETE FROM photos
WHERE id = %(id)s
RETURNING user_id;

-- insert_photo_and_face --
WITH photo AS (
    INSERT INTO photos (user_id, filename, filepath, width, height, content_sha256)
    VALUES (%(user_id)s, %(filename)s, %(filepath)s, %(side)s, %(side)s, %(content_sha256)s)
    RETURNING id, user_id
)
INSERT INTO face_embeddings (
    user_id, photo_id, embedding, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT
    user_id, id, %(embedding)s, %(detection_score)s::real,
    %(box_x)s::real, %(box_y)s::real, %(box_width)s::real, %(box_height)s::real,
    %(sharpness)s::real, %(brightness)s::real, %(yaw)s::real, %(pitch)s::real, %(roll)s::real
FROM photo
RETURNING photo_id;

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
    AND written_at IS NULL
ORDER BY deleted_at
LIMIT 10000;

-- count_deleted_photo_files --
SELECT count(*) AS files, min(deleted_at) AS since
FROM deleted_photo_files
WHERE written_at IS NULL;

-- photo_folders --
-- The ids of the photos folders, on any machine, that have crops of this gallery.
SELECT DISTINCT split_part(filepath, '/', 2)
FROM (
    SELECT filepath FROM photos
    UNION ALL
    SELECT filepath FROM deleted_photo_files
) AS crops
WHERE starts_with(filepath, %(prefix)s || '/')
    AND split_part(filepath, '/', 2) ~ '^[0-9a-f]{32}$';

-- note_deleted_files --
INSERT INTO deleted_photo_files (filepath)
SELECT unnest(%(filepaths)s::text[])
ON CONFLICT DO NOTHING;

-- note_written_files --
-- Before pgface writes an object to an S3-compatible store. The note is deleted in the transaction of the photo's row.
-- It adds no note if another process has moved the photos away, because the gallery no longer knows this store.
-- Citus needs the CTE, because it cannot send now() with an INSERT ... SELECT.
WITH written AS MATERIALIZED (
    SELECT f.filepath, now() AS written_at
    FROM gallery g, unnest(%(filepaths)s::text[]) AS f(filepath)
    WHERE g.photo_store = %(location)s OR %(location)s = ANY (g.former_photo_stores)
)
INSERT INTO deleted_photo_files (filepath, written_at)
SELECT filepath, written_at FROM written;

-- delete_written_note --
-- Returns no row if the clean-up has taken the object for the rest of a crash.
DELETE FROM deleted_photo_files
WHERE filepath = %(filepath)s
    AND written_at IS NOT NULL
RETURNING filepath;

-- give_up_written_files --
UPDATE deleted_photo_files
SET written_at = NULL
WHERE filepath = ANY(%(filepaths)s)
    AND written_at IS NOT NULL;

-- give_up_old_written_files --
-- Objects of enrollments that have crashed. No enrollment takes so long between the note and the commit.
UPDATE deleted_photo_files
SET written_at = NULL
WHERE starts_with(filepath, %(prefix)s || '/')
    AND written_at < now() - INTERVAL '15 minutes';

-- insert_photo_crop --
INSERT INTO photo_crops (filepath, jpeg)
VALUES (%(filepath)s, %(jpeg)s);

-- select_photo_crop --
SELECT jpeg
FROM photo_crops
WHERE filepath = %(filepath)s;

-- delete_photo_crops --
DELETE FROM photo_crops
WHERE filepath = ANY(%(filepaths)s);

-- photo_crops_in_order --
SELECT filepath
FROM photo_crops
WHERE starts_with(filepath, %(prefix)s)
ORDER BY filepath COLLATE "C";

-- photo_path --
SELECT filepath
FROM photos
WHERE id = %(id)s;

-- set_photo_store --
-- In one statement, so that the gallery knows the URL of each store in which it has objects.
UPDATE gallery
SET photo_store = %(location)s,
    former_photo_stores = array_remove(
        CASE WHEN starts_with(photo_store, 's3://') THEN array_append(former_photo_stores, photo_store) ELSE former_photo_stores END,
        %(location)s
    )
WHERE photo_store <> %(location)s;

-- delete_former_photo_store --
UPDATE gallery
SET former_photo_stores = array_remove(former_photo_stores, %(location)s)
WHERE NOT EXISTS (SELECT FROM photos WHERE starts_with(filepath, %(prefix)s || '/'))
    AND NOT EXISTS (SELECT FROM deleted_photo_files WHERE starts_with(filepath, %(prefix)s || '/'));

-- choose_photo_store --
-- For a gallery without photos. A gallery with photos keeps its store until `pgface photos move`.
UPDATE gallery
SET photo_store = %(location)s
WHERE photo_store <> %(location)s
    AND NOT EXISTS (SELECT FROM photos);

-- photos_to_move --
SELECT id, filepath
FROM photos
WHERE id > %(after)s
    AND NOT starts_with(filepath, %(prefix)s || '/')
ORDER BY id
LIMIT %(limit)s;

-- lock_photos_to_move --
-- Leaves out photos that another transaction is deleting.
SELECT id, filepath
FROM photos
WHERE id = ANY(%(ids)s)
FOR UPDATE SKIP LOCKED;

-- existing_photos --
SELECT id
FROM photos
WHERE id = ANY(%(ids)s);

-- set_photo_path --
UPDATE photos
SET filepath = %(filepath)s
WHERE id = %(id)s;

-- delete_deletion_notes --
DELETE FROM deleted_photo_files
WHERE filepath = ANY(%(filepaths)s);

-- try_share_photo_files --
-- Held while pgface deletes the files of deleted rows. Returns no row while a backup copies the files.
SELECT name FROM gallery_locks WHERE name = 'photo files' FOR SHARE SKIP LOCKED;

-- count_photo_files --
-- The number of photos by the first two parts of their paths, which name the gallery and the store. NULL stands for paths that
-- pgface did not write.
SELECT
    CASE WHEN filepath ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/([0-9a-f]{32}|postgres|s3-[0-9a-f]{16})/[0-9a-f]{2}/[0-9a-f]{32}\.jpg$'
        THEN split_part(filepath, '/', 1) || '/' || split_part(filepath, '/', 2)
    END AS prefix,
    count(*) AS photos
FROM photos
GROUP BY 1;

-- photo_files_in_order --
SELECT filepath
FROM photos
WHERE starts_with(filepath, %(prefix)s)
ORDER BY filepath COLLATE "C";

-- accounted_photo_files --
-- The files of rows, and the files of deleted rows that pgface is going to delete.
SELECT filepath
FROM photos
WHERE filepath = ANY(%(filepaths)s)
UNION ALL
SELECT filepath
FROM deleted_photo_files
WHERE filepath = ANY(%(filepaths)s);

-- count_photos_of_user --
SELECT count(*) FROM photos WHERE user_id = %(user_id)s;

-- insert_photo_and_contested_face --
WITH photo AS (
    INSERT INTO photos (user_id, filename, filepath, width, height, content_sha256)
    VALUES (%(user_id)s, %(filename)s, %(filepath)s, %(side)s, %(side)s, %(content_sha256)s)
    RETURNING id, user_id
)
INSERT INTO contested_faces (
    user_id, photo_id, embedding, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT
    user_id, id, %(embedding)s, %(detection_score)s::real,
    %(box_x)s::real, %(box_y)s::real, %(box_width)s::real, %(box_height)s::real,
    %(sharpness)s::real, %(brightness)s::real, %(yaw)s::real, %(pitch)s::real, %(roll)s::real
FROM photo
RETURNING photo_id;

-- select_contested_faces --
-- The contested faces of one user or of all users, with their photos.
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
-- Before delete_accepted_face, whose triggers look whether the user still has the face. A cluster runs a DELETE within a statement
-- before the rest of it. MATERIALIZED, because Citus 14 writes an INSERT from a table with WHERE in a wrong syntax.
WITH accepted AS MATERIALIZED (
    SELECT * FROM contested_faces WHERE photo_id = %(photo_id)s
)
INSERT INTO face_embeddings (
    id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
FROM accepted;

-- delete_accepted_face --
DELETE FROM contested_faces WHERE photo_id = %(photo_id)s;

-- is_contested --
SELECT EXISTS (SELECT FROM contested_faces WHERE photo_id = %(photo_id)s);

-- vacuum_embeddings --
-- For use after a large load. Then scans need not check the visibility of each row, and the planner has the number of rows.
VACUUM (ANALYZE, SKIP_LOCKED) face_embeddings;
