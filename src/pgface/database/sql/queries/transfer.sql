-- Export.

-- select_exported_people --
SELECT id, name, email, external_id, labels, metadata, is_person
FROM users u
WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id)
ORDER BY id;

-- copy_out_embeddings_in_order --
COPY (SELECT user_id, embedding FROM face_embeddings ORDER BY id) TO STDOUT (FORMAT BINARY);
