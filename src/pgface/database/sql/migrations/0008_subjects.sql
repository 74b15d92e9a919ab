-- The door for CompreFace's clients. A subject is a user with an external id. Its examples are the user's embeddings.
--
-- The keys of these clients are keys of the default gallery. The schema is that of the gallery whose subjects a key may use, and
-- NULL for the default gallery. A key of a gallery that was deleted opens no other one.
CREATE TABLE IF NOT EXISTS compreface_keys (
    key_id INTEGER PRIMARY KEY REFERENCES api_keys(id) ON DELETE CASCADE,
    schema_name TEXT
);

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
