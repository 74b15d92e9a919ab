-- pg_dump writes the operator of IS DISTINCT FROM without its schema, and pgvector's is then not found: the trigger as it was
-- is missing in what pg_restore or psql makes of a dump. Neither column can be NULL, so this says the same.
CREATE OR REPLACE TRIGGER remember_stale_templates_of_changed
AFTER UPDATE ON face_embeddings
FOR EACH ROW
WHEN (OLD.embedding <> NEW.embedding OR OLD.user_id <> NEW.user_id)
EXECUTE FUNCTION remember_stale_templates();
