-- Migration of an old installation.

-- lock_tables_for_migration --
-- Other sessions can read. Their writes wait.
LOCK TABLE users, photos, auth_tokens, face_embeddings IN SHARE ROW EXCLUSIVE MODE;

-- count_rows --
SELECT
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM photos) AS photos,
    (SELECT count(*) FROM auth_tokens) AS tokens,
    (SELECT count(*) FROM face_embeddings) AS embeddings;

-- select_migrated_users --
SELECT id, email, password FROM users;

-- select_migrated_photos --
SELECT id, user_id, filename, created_at, filepath FROM photos;

-- select_migrated_tokens --
SELECT id, token FROM auth_tokens;

-- copy_migrated_users --
COPY users (id, name, email, password, created_at, external_id, labels, metadata, is_person) FROM STDIN;

-- copy_migrated_photos --
COPY photos (id, user_id, filename, filepath, width, height, created_at) FROM STDIN;

-- copy_migrated_tokens --
COPY auth_tokens (id, user_id, token, confidence, created_at, expires_at, is_active) FROM STDIN;

-- move_sequences_behind_ids --
-- Moves each sequence past the existing ids.
SELECT setval(sequence, newest_id) FROM sequences_behind_ids();

-- copy_migrated_embeddings --
COPY face_embeddings (user_id, photo_id, embedding)
FROM STDIN (FORMAT BINARY);

-- create_staged_embeddings --
CREATE TEMPORARY TABLE staged_embeddings (user_id INTEGER, photo_id INTEGER, embedding vector(512)) ON COMMIT DROP;

-- copy_staged_embeddings --
COPY staged_embeddings (user_id, photo_id, embedding)
FROM STDIN (FORMAT BINARY);

-- insert_staged_embeddings --
-- Inserts the embeddings that their users do not have yet. A query by itself for the temporary table, which a cluster has only on
-- the coordinator.
INSERT INTO face_embeddings (user_id, photo_id, embedding)
SELECT s.user_id, s.photo_id, s.embedding
FROM (SELECT * FROM staged_embeddings OFFSET 0) s
LEFT JOIN face_embeddings fe ON fe.user_id = s.user_id AND fe.embedding = s.embedding
WHERE fe.id IS NULL;

-- count_embeddings_of_users --
SELECT user_id, count(*)
FROM face_embeddings
WHERE user_id = ANY(%(ids)s)
GROUP BY user_id;

-- embedding_is_stored --
SELECT EXISTS (
    SELECT FROM face_embeddings
    WHERE user_id = %(user_id)s
        AND embedding = %(embedding)s
);

-- nearest_users_exactly --
SELECT user_id, similarity
FROM find_similar_faces_exactly(%(embedding)s, -1, 10);

-- embeddings_of_migrated_users --
SELECT user_id, embedding
FROM face_embeddings
WHERE user_id = ANY(%(ids)s);

-- set_migrated_filepath --
UPDATE photos
SET filepath = %(filepath)s
WHERE id = %(id)s;

-- set_migrated_password --
UPDATE users SET password = %(password)s WHERE id = %(id)s;

-- vacuum_gallery --
VACUUM (ANALYZE) users, photos, auth_tokens, face_embeddings;
