-- Subjects and examples: users with an external id, and their embeddings with lasting ids.

-- select_subjects --
SELECT id, external_id AS name, email FROM users WHERE external_id IS NOT NULL ORDER BY id;

-- select_subjects_with_ids --
SELECT id, external_id AS name, email FROM users WHERE id = ANY(%(ids)s) AND external_id IS NOT NULL ORDER BY id;

-- select_subject --
-- Case does not matter, but the same spelling comes first.
SELECT id, external_id AS name, email
FROM users
WHERE lower(external_id) = lower(%(subject)s)
ORDER BY external_id <> %(subject)s, id
LIMIT 1;

-- insert_subject --
INSERT INTO users (name, email, password, external_id)
VALUES (%(name)s, %(email)s, %(password)s, %(subject)s)
RETURNING id, external_id AS name, email;

-- rename_subject --
UPDATE users SET external_id = %(subject)s, name = %(name)s WHERE id = %(id)s;

-- remove_subject --
-- The user stays, because it was not added as a subject.
UPDATE users SET external_id = NULL WHERE id = %(id)s;

-- assign_face_ids --
-- Other clients and bulk loads enroll faces without lasting ids.
INSERT INTO face_ids (embedding_id)
SELECT fe.id
FROM face_embeddings fe
JOIN users u ON u.id = fe.user_id
WHERE u.external_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM face_ids f WHERE f.embedding_id = fe.id)
ORDER BY fe.id
ON CONFLICT DO NOTHING;

-- assign_face_id_of_photo --
INSERT INTO face_ids (embedding_id)
SELECT id FROM face_embeddings WHERE photo_id = %(photo_id)s
ON CONFLICT DO NOTHING;

-- select_face_id_of_photo --
SELECT f.face_id
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
WHERE fe.photo_id = %(photo_id)s;

-- select_examples --
SELECT f.face_id AS id, u.external_id AS subject
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
JOIN users u ON u.id = fe.user_id
WHERE u.external_id IS NOT NULL
    AND (%(subject)s::text IS NULL OR u.external_id = %(subject)s)
ORDER BY fe.id
LIMIT %(limit)s OFFSET %(offset)s;

-- count_examples --
SELECT count(*)
FROM face_embeddings fe
JOIN users u ON u.id = fe.user_id
WHERE u.external_id IS NOT NULL
    AND (%(subject)s::text IS NULL OR u.external_id = %(subject)s);

-- select_example --
SELECT f.face_id AS id, u.external_id AS subject, fe.user_id, fe.photo_id, fe.id AS embedding_id, fe.embedding
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
JOIN users u ON u.id = fe.user_id
WHERE f.face_id = %(id)s
    AND u.external_id IS NOT NULL;

-- delete_embedding --
DELETE FROM face_embeddings WHERE id = %(embedding_id)s;

-- find_similar_examples --
-- It refuses an embedding of an earlier model.
SELECT
    f.external_id AS subject,
    (SELECT fe.user_id FROM face_embeddings fe WHERE fe.id = f.embedding_id) AS user_id,
    f.embedding_id,
    f.similarity
FROM find_similar_examples(%(embedding)s, %(max_results)s) f
WHERE %(model_changes)s = (SELECT model_changes FROM gallery)
    OR refuse_earlier_model();

-- assign_compreface_key --
-- Returns no row if there is no gallery with this name.
INSERT INTO compreface_keys (key_id, gallery)
SELECT %(key_id)s, %(gallery)s
FROM gallery -- its only row. Without a table, Citus inserts nothing if the condition has none either.
WHERE %(gallery)s::text IS NULL OR EXISTS (SELECT FROM galleries g WHERE g.name = %(gallery)s)
RETURNING key_id;

-- find_compreface_key --
-- The key and the name of its gallery, NULL for the default one.
SELECT f.*, k.all_galleries, c.gallery
FROM find_api_key(%(key)s) f
JOIN api_keys k ON k.id = f.id
JOIN compreface_keys c ON c.key_id = f.id;
