-- The web service.

-- begin_idempotent_request --
-- Returns a row if the request may continue: its key is new, or the process of the first request died. EXCLUDED.started_at is the
-- present time: a distributed PostgreSQL allows no volatile function here.
INSERT INTO idempotent_requests (caller, key, request)
VALUES (%(caller)s, %(key)s, %(request)s)
ON CONFLICT (caller, key) DO UPDATE SET started_at = EXCLUDED.started_at
WHERE idempotent_requests.status IS NULL
    AND idempotent_requests.request = EXCLUDED.request
    AND EXCLUDED.started_at - idempotent_requests.started_at > make_interval(secs => %(given_up_after)s)
RETURNING started_at;

-- select_idempotent_request --
SELECT request, status, answer
FROM idempotent_requests
WHERE caller = %(caller)s AND key = %(key)s;

-- answer_idempotent_request --
UPDATE idempotent_requests
SET status = %(status)s, answer = %(answer)s, user_id = %(user_id)s, photo_id = %(photo_id)s
WHERE caller = %(caller)s AND key = %(key)s AND started_at = %(started_at)s AND status IS NULL;

-- give_up_idempotent_request --
DELETE FROM idempotent_requests
WHERE caller = %(caller)s AND key = %(key)s AND started_at = %(started_at)s AND status IS NULL;

-- delete_idempotent_requests --
DELETE FROM idempotent_requests WHERE started_at < statement_timestamp() - make_interval(secs => %(kept)s);

-- gallery_size --
SELECT users, embeddings FROM gallery_size();

-- select_embeddings_of_user --
-- All data of a user's embeddings, for the user. It does not reveal which of them are contested.
SELECT id, photo_id, created_at, updated_at, detection_score, box_x, box_y, box_width, box_height, sharpness,
    brightness, yaw, pitch, roll, embedding
FROM (
    SELECT id, photo_id, created_at, updated_at, detection_score, box_x, box_y, box_width, box_height, sharpness,
        brightness, yaw, pitch, roll, embedding
    FROM face_embeddings
    WHERE user_id = %(user_id)s
    UNION ALL
    SELECT id, photo_id, created_at, updated_at, detection_score, box_x, box_y, box_width, box_height, sharpness,
        brightness, yaw, pitch, roll, embedding
    FROM contested_faces
    WHERE user_id = %(user_id)s
) AS own
WHERE id > %(after)s
ORDER BY id
LIMIT %(limit)s;

-- select_faces_of_users --
-- A page of users, each with their first photo.
SELECT u.id, u.name, u.email, u.external_id, u.labels, p.photos, p.photo_id
FROM (
    SELECT id, name, email, external_id, labels
    FROM users
    WHERE id > %(after)s
        AND is_person
        AND labels @> %(labels)s::text[]
        AND (%(text)s::text IS NULL OR strpos(lower(name || ' ' || email), lower(%(text)s)) > 0)
    ORDER BY id
    LIMIT %(limit)s
) u
CROSS JOIN LATERAL (
    SELECT count(*) AS photos, min(id) AS photo_id
    FROM photos
    WHERE user_id = u.id
) p
ORDER BY u.id;

-- select_measured_photos --
-- A user's photos, with what enrollment measured of the face in each.
SELECT p.id, p.filename, p.created_at, fe.id IS NOT NULL AS embedded,
    LEAST(fe.box_width, fe.box_height) AS face_size, fe.sharpness, fe.brightness, fe.yaw, fe.pitch, fe.roll
FROM photos p
LEFT JOIN LATERAL (
    SELECT id, box_width, box_height, sharpness, brightness, yaw, pitch, roll
    FROM face_embeddings
    WHERE photo_id = p.id
    ORDER BY id
    LIMIT 1
) fe ON true
WHERE p.user_id = %(user_id)s
    AND p.id > %(after)s
ORDER BY p.id
LIMIT %(limit)s;

-- select_users_by_text --
-- Users whose name or e-mail contains a text.
SELECT id
FROM users
WHERE strpos(lower(name || ' ' || email), lower(%(text)s)) > 0
ORDER BY id
LIMIT %(limit)s;

-- select_names --
-- The names of users and keys by their ids.
SELECT 'user' AS kind, id, name FROM users WHERE id = ANY (%(users)s)
UNION ALL
SELECT 'key', id, name FROM api_keys WHERE id = ANY (%(keys)s);
