-- Changing the gallery's model: embedding every face again.

-- take_reembedding --
-- Only one session at a time embeds the gallery again. Returns no row while another session holds the lock.
SELECT 'reembedding' AS name WHERE take_reembedding_lock();

-- give_reembedding_back --
UPDATE gallery_locks
SET process = NULL, process_since = NULL
WHERE name = 'reembedding' AND process = pg_backend_pid();

-- is_gallery_owner --
SELECT is_gallery_owner();

-- select_reembedding --
SELECT model, (SELECT count(*) FROM reembedded_faces) FROM reembedding;

-- begin_reembedding --
INSERT INTO reembedding (model) VALUES (%(model)s)
ON CONFLICT (only_row) DO UPDATE SET model = EXCLUDED.model;

-- truncate_reembedded_faces --
TRUNCATE reembedded_faces;

-- delete_reembedding --
DELETE FROM reembedding;

-- count_reembedding --
-- The embeddings of the gallery, those among them that are new, and those without a photo.
SELECT
    count(*) AS faces,
    count(r.embedding_id) AS waiting,
    count(r.embedding_id) FILTER (WHERE r.of_photo) AS of_photos,
    count(*) FILTER (WHERE e.photo_id IS NULL) AS bare
FROM (
    SELECT id, photo_id FROM face_embeddings
    UNION ALL
    SELECT id, photo_id FROM contested_faces
) e
LEFT JOIN reembedded_faces r ON r.embedding_id = e.id;

-- count_faces_to_reembed --
SELECT count(*)
FROM (
    SELECT id FROM face_embeddings WHERE photo_id IS NOT NULL
    UNION ALL
    SELECT id FROM contested_faces
) e
LEFT JOIN reembedded_faces r ON r.embedding_id = e.id
WHERE (r.embedding_id IS NULL OR (%(again)s AND NOT r.of_photo))
    AND e.id <> ALL(%(lost)s::integer[]);

-- faces_to_reembed --
-- Those with a photo that have no new embedding, except `lost`. With `again`, those whose new embedding is of the crop, too.
SELECT e.id AS embedding_id, e.user_id, e.photo_id, u.email, p.filename, p.filepath, p.content_sha256,
    e.box_x, e.box_y, e.box_width, e.box_height, r.embedding_id IS NOT NULL AS waits
FROM (
    SELECT id, user_id, photo_id, box_x, box_y, box_width, box_height FROM face_embeddings
    UNION ALL
    SELECT id, user_id, photo_id, box_x, box_y, box_width, box_height FROM contested_faces
) e
JOIN users u ON u.id = e.user_id
JOIN photos p ON p.id = e.photo_id
LEFT JOIN reembedded_faces r ON r.embedding_id = e.id
WHERE e.id > %(after)s
    AND (r.embedding_id IS NULL OR (%(again)s AND NOT r.of_photo))
    AND e.id <> ALL(%(lost)s::integer[])
ORDER BY e.id
LIMIT %(limit)s;

-- bare_embeddings_by_user --
SELECT u.id, u.email, count(*)
FROM face_embeddings fe
JOIN users u ON u.id = fe.user_id
WHERE fe.photo_id IS NULL
GROUP BY u.id
ORDER BY u.id;

-- count_reembedded_faces --
SELECT count(*) FROM reembedded_faces;

-- existing_embeddings --
SELECT id FROM face_embeddings WHERE id = ANY(%(ids)s)
UNION ALL
SELECT id FROM contested_faces WHERE id = ANY(%(ids)s)
ORDER BY id;

-- insert_reembedded_face --
-- No row if the old embedding, its photo or its user was deleted meanwhile.
INSERT INTO reembedded_faces (
    embedding_id, photo_id, user_id, embedding, of_photo, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT e.id, e.photo_id, e.user_id, %(embedding)s, %(of_photo)s, %(detection_score)s,
    %(box_x)s, %(box_y)s, %(box_width)s, %(box_height)s, %(sharpness)s, %(brightness)s, %(yaw)s, %(pitch)s, %(roll)s
FROM (
    SELECT id, user_id, photo_id FROM face_embeddings WHERE id = %(embedding_id)s
    UNION ALL
    SELECT id, user_id, photo_id FROM contested_faces WHERE id = %(embedding_id)s
) e
WHERE e.photo_id = %(photo_id)s
ON CONFLICT (embedding_id) DO UPDATE
SET photo_id = EXCLUDED.photo_id, user_id = EXCLUDED.user_id, embedding = EXCLUDED.embedding,
    of_photo = EXCLUDED.of_photo, detection_score = EXCLUDED.detection_score,
    box_x = EXCLUDED.box_x, box_y = EXCLUDED.box_y, box_width = EXCLUDED.box_width, box_height = EXCLUDED.box_height,
    sharpness = EXCLUDED.sharpness, brightness = EXCLUDED.brightness,
    yaw = EXCLUDED.yaw, pitch = EXCLUDED.pitch, roll = EXCLUDED.roll;

-- old_and_new_embeddings --
-- The embeddings that identification uses, with the new ones, NULL where there is none.
SELECT fe.user_id, fe.embedding, r.embedding
FROM face_embeddings fe
LEFT JOIN reembedded_faces r ON r.embedding_id = fe.id
ORDER BY fe.id;

-- keep_vacuum_away --
-- It blocks no reader and no writer. PostgreSQL cancels an automatic vacuum that is in the way.
LOCK TABLE users, photos, face_embeddings, contested_faces IN SHARE UPDATE EXCLUSIVE MODE;

-- lock_faces --
-- Other sessions can read. NOWAIT, because a writer that has one of these tables may wait for another.
LOCK TABLE users, photos, face_embeddings, contested_faces IN SHARE ROW EXCLUSIVE MODE NOWAIT;

-- users_without_new_embedding --
SELECT count(DISTINCT fe.user_id)
FROM face_embeddings fe
WHERE NOT EXISTS (
    SELECT FROM face_embeddings other JOIN reembedded_faces r ON r.embedding_id = other.id WHERE other.user_id = fe.user_id
);

-- delete_faces_without_new_embedding --
DELETE FROM face_embeddings fe
WHERE NOT EXISTS (SELECT FROM reembedded_faces r WHERE r.embedding_id = fe.id);

-- delete_contested_faces_without_new_embedding --
DELETE FROM contested_faces cf
WHERE NOT EXISTS (SELECT FROM reembedded_faces r WHERE r.embedding_id = cf.id);

-- disable_triggers_of_faces --
-- For the replacement of all embeddings, because the triggers take much longer for each row.
ALTER TABLE face_embeddings DISABLE TRIGGER USER;

-- enable_triggers_of_faces --
ALTER TABLE face_embeddings ENABLE TRIGGER USER;

-- delete_old_templates --
DELETE FROM user_templates;

-- delete_stale_templates --
DELETE FROM stale_templates;

-- replace_embeddings --
UPDATE face_embeddings fe
SET embedding = r.embedding,
    updated_at = CURRENT_TIMESTAMP,
    detection_score = r.detection_score,
    box_x = CASE WHEN r.of_photo THEN r.box_x ELSE fe.box_x END,
    box_y = CASE WHEN r.of_photo THEN r.box_y ELSE fe.box_y END,
    box_width = CASE WHEN r.of_photo THEN r.box_width ELSE fe.box_width END,
    box_height = CASE WHEN r.of_photo THEN r.box_height ELSE fe.box_height END,
    sharpness = CASE WHEN r.of_photo THEN r.sharpness ELSE fe.sharpness END,
    brightness = CASE WHEN r.of_photo THEN r.brightness ELSE fe.brightness END,
    yaw = CASE WHEN r.of_photo THEN r.yaw ELSE fe.yaw END,
    pitch = CASE WHEN r.of_photo THEN r.pitch ELSE fe.pitch END,
    roll = CASE WHEN r.of_photo THEN r.roll ELSE fe.roll END
FROM reembedded_faces r
WHERE r.embedding_id = fe.id;

-- replace_contested_embeddings --
UPDATE contested_faces cf
SET embedding = r.embedding,
    updated_at = CURRENT_TIMESTAMP,
    detection_score = r.detection_score,
    box_x = CASE WHEN r.of_photo THEN r.box_x ELSE cf.box_x END,
    box_y = CASE WHEN r.of_photo THEN r.box_y ELSE cf.box_y END,
    box_width = CASE WHEN r.of_photo THEN r.box_width ELSE cf.box_width END,
    box_height = CASE WHEN r.of_photo THEN r.box_height ELSE cf.box_height END,
    sharpness = CASE WHEN r.of_photo THEN r.sharpness ELSE cf.sharpness END,
    brightness = CASE WHEN r.of_photo THEN r.brightness ELSE cf.brightness END,
    yaw = CASE WHEN r.of_photo THEN r.yaw ELSE cf.yaw END,
    pitch = CASE WHEN r.of_photo THEN r.pitch ELSE cf.pitch END,
    roll = CASE WHEN r.of_photo THEN r.roll ELSE cf.roll END
FROM reembedded_faces r
WHERE r.embedding_id = cf.id;

-- rebind_gallery --
-- A trigger resets the thresholds and deletes the confidence scale.
UPDATE gallery
SET model_name = %(name)s,
    dimension = %(dimension)s,
    alignment_size = %(alignment_size)s,
    weights_sha256 = %(weights_sha256)s,
    model_changes = model_changes + 1;
