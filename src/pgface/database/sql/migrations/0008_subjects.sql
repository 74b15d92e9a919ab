-- The door for CompreFace's clients. A subject is a user with an external id. Its examples are the user's embeddings.
--
-- The keys of these clients are keys of the default gallery. A key may use the subjects of one gallery, the default one if the
-- name is NULL. The name follows the registry, and is not a foreign key: an archive has the keys, but not the registry.
CREATE TABLE IF NOT EXISTS compreface_keys (
    key_id INTEGER PRIMARY KEY REFERENCES api_keys(id) ON DELETE CASCADE,
    gallery TEXT
);

CREATE OR REPLACE FUNCTION follow_registry()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM compreface_keys k WHERE k.gallery = OLD.name;
    ELSE
        UPDATE compreface_keys k SET gallery = NEW.name WHERE k.gallery = OLD.name;
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION follow_registry() IS
    'Internal: a key for CompreFace''s clients stays with its gallery if that is renamed, and opens none if that is deleted.';

CREATE OR REPLACE TRIGGER follow_registry
AFTER DELETE OR UPDATE OF name ON galleries
FOR EACH ROW
EXECUTE FUNCTION follow_registry();

REVOKE EXECUTE ON FUNCTION follow_registry() FROM PUBLIC;

CREATE INDEX IF NOT EXISTS idx_users_subject ON users(lower(external_id));

-- The best embeddings of the best people are the best embeddings of all. So an index that finds people also finds embeddings.
-- Other users can be in between, so twice as many people are asked for. If there are still too few, every embedding is compared.
CREATE OR REPLACE FUNCTION find_similar_examples(query_embedding vector(512), max_results INTEGER DEFAULT 1)
RETURNS TABLE(embedding_id INTEGER, external_id TEXT, similarity float)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    max_people CONSTANT INTEGER := 50;
    asked INTEGER;
    near INTEGER[];
BEGIN
    PERFORM require_cosine(query_embedding);
    FOREACH asked IN ARRAY ARRAY[max_results, 2 * max_results] LOOP
        EXIT WHEN asked > max_people OR NOT EXISTS (SELECT FROM gallery_search s WHERE s.method <> 'exact');
        near := ARRAY(
            SELECT f.user_id
            FROM find_similar_faces(query_embedding, -1, asked) f
            JOIN users u ON u.id = f.user_id
            WHERE u.external_id IS NOT NULL
        );
        IF cardinality(near) >= max_results THEN
            RETURN QUERY
                SELECT fe.id, u.external_id, 1 - (fe.embedding <=> query_embedding)
                FROM face_embeddings fe
                JOIN users u ON u.id = fe.user_id
                WHERE fe.user_id = ANY (near)
                ORDER BY 3 DESC, 1
                LIMIT max_results;
            RETURN;
        END IF;
    END LOOP;
    -- The expression keeps PostgreSQL from reading a vector index, which would return too few rows of subjects.
    RETURN QUERY
        SELECT fe.id, u.external_id, 1 - (fe.embedding <=> query_embedding)
        FROM face_embeddings fe
        JOIN users u ON u.id = fe.user_id
        WHERE u.external_id IS NOT NULL
        ORDER BY 3 DESC, 1
        LIMIT max_results;
END;
$$;

COMMENT ON FUNCTION find_similar_examples(vector, integer) IS
    'Internal: the most similar embeddings of users with an external id, best first, without a threshold. One user can be there '
    'several times.';
