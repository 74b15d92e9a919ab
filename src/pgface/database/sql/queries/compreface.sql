-- Migration of CompreFace. Its own tables are read by pgface.operations.compreface.source.

-- add_migrated_subjects --
-- Leaves out those whose user exists.
INSERT INTO users (name, email, password, external_id)
SELECT s.name, s.email, %(password)s, s.external_id
FROM unnest(%(names)s::text[], %(emails)s::text[], %(external_ids)s::text[]) AS s (name, email, external_id)
ON CONFLICT DO NOTHING;

-- find_migrated_subjects --
-- The e-mail has the subject's id, and stays when a subject is renamed. CompreFace ignores the case of a name.
SELECT id, email, lower(external_id)
FROM users
WHERE email = ANY(%(emails)s)
    OR lower(external_id) IN (SELECT lower(name) FROM unnest(%(external_ids)s::text[]) AS name)
ORDER BY id;

-- lower_names --
SELECT lower(s.name)
FROM unnest(%(external_ids)s::text[]) WITH ORDINALITY AS s (name, place)
ORDER BY s.place;

-- count_users --
SELECT count(*) FROM users;

-- existing_face_ids --
SELECT face_id FROM face_ids WHERE face_id = ANY(%(ids)s);

-- set_face_id_of_photo --
-- Returns no row if the photo's face has another lasting id already.
INSERT INTO face_ids (face_id, embedding_id, image_id)
SELECT %(face_id)s, fe.id, %(image_id)s
FROM face_embeddings fe
WHERE fe.photo_id = %(photo_id)s
    AND NOT EXISTS (SELECT FROM face_ids f WHERE f.embedding_id = fe.id)
ORDER BY fe.id
LIMIT 1
ON CONFLICT DO NOTHING
RETURNING embedding_id;

-- embeddings_of_face_ids --
SELECT fe.user_id, fe.embedding
FROM face_ids f
JOIN face_embeddings fe ON fe.id = f.embedding_id
WHERE f.face_id = ANY(%(ids)s);

-- key_exists --
SELECT FROM api_keys WHERE key = %(key)s;
