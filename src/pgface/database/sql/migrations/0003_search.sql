-- Identification (1:N) and verification (1:1). Both compare exactly, whatever index is there: a person missed
-- by an index is a false non-identification.
--
-- BEGIN ATOMIC binds every name to this gallery when the function is made, and PostgreSQL writes these functions
-- into the statement that calls them, so that a prepared call keeps its plan.

CREATE OR REPLACE FUNCTION refuse_zero_vector(norm float)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION 'the query embedding is a zero vector, which has no cosine and would match everybody'
        USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Its norm is %s; 1e-15 to 1e15 is accepted.', norm);
END;
$$;

-- require_cosine(query_embedding)
-- True, or an error for a probe without a direction: its similarity to everybody is NaN, and PostgreSQL holds NaN
-- to be greater than any threshold.
CREATE OR REPLACE FUNCTION require_cosine(query_embedding vector)
RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE
        WHEN vector_norm(query_embedding) BETWEEN 1e-15 AND 1e15 THEN TRUE
        ELSE refuse_zero_vector(vector_norm(query_embedding))
    END;
END;

-- find_similar_faces(query_embedding, similarity_threshold, max_results)
-- The best people above the threshold, best first, each user once with their best embedding. A threshold of NULL
-- means the gallery's own for identification.
CREATE OR REPLACE FUNCTION find_similar_faces(
    query_embedding vector(512),
    similarity_threshold float DEFAULT NULL,
    max_results integer DEFAULT 1
)
RETURNS TABLE(
    user_id INTEGER,
    user_name VARCHAR,
    user_email VARCHAR,
    similarity float,
    embedding_id INTEGER
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- The threshold comes first: what is left is few, so one person's many photos cannot crowd out another.
    -- MATERIALIZED keeps this a plain, parallel scan; the planner expects a third of the rows to be left,
    -- and would walk idx_embeddings_user_id through all of the table to have them in order.
    WITH near AS MATERIALIZED (
        SELECT fe.user_id, fe.id AS embedding_id, 1 - (fe.embedding <=> query_embedding) AS similarity
        FROM face_embeddings fe
        WHERE 1 - (fe.embedding <=> query_embedding)
            >= coalesce(similarity_threshold, (SELECT gallery.identify_threshold FROM gallery))
    ),
    best AS (
        SELECT DISTINCT ON (near.user_id) near.user_id, near.embedding_id, near.similarity
        FROM near
        ORDER BY near.user_id, near.similarity DESC, near.embedding_id
    )
    SELECT u.id, u.name, u.email, best.similarity, best.embedding_id
    FROM (
        SELECT * FROM best
        WHERE require_cosine(query_embedding)
        ORDER BY best.similarity DESC, best.embedding_id
        LIMIT max_results
    ) best
    JOIN users u ON u.id = best.user_id
    ORDER BY best.similarity DESC, best.embedding_id;
END;

-- find_similar_face(query_embedding, similarity_threshold)
-- The best person above the threshold, or no row.
CREATE OR REPLACE FUNCTION find_similar_face(
    query_embedding vector(512),
    similarity_threshold float DEFAULT 0.7
)
RETURNS TABLE(
    user_id INTEGER,
    user_name VARCHAR,
    user_email VARCHAR,
    similarity float,
    embedding_id INTEGER
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT * FROM find_similar_faces(query_embedding, similarity_threshold, 1);
END;

-- verify_face(query_embedding, target_user_id, similarity_threshold)
-- Whether the probe is this user: one row for a user, also for one without embeddings (no match, similarity 0),
-- and none for an unknown user. A threshold of NULL means the gallery's own for verification.
CREATE OR REPLACE FUNCTION verify_face(
    query_embedding vector(512),
    target_user_id INTEGER,
    similarity_threshold float DEFAULT 0.7
)
RETURNS TABLE(
    match BOOLEAN,
    similarity float,
    user_name VARCHAR,
    user_email VARCHAR
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        coalesce(
            best.similarity >= coalesce(similarity_threshold, (SELECT gallery.verify_threshold FROM gallery)),
            FALSE
        ),
        coalesce(best.similarity, 0.0),
        u.name,
        u.email
    FROM users u
    CROSS JOIN LATERAL (
        SELECT max(1 - (fe.embedding <=> query_embedding)) AS similarity
        FROM face_embeddings fe
        WHERE fe.user_id = u.id
    ) best
    WHERE u.id = target_user_id
        AND require_cosine(query_embedding);
END;

-- get_user_embeddings_count(target_user_id)
-- How many embeddings a user has.
CREATE OR REPLACE FUNCTION get_user_embeddings_count(target_user_id INTEGER)
RETURNS INTEGER
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(*)::integer FROM face_embeddings fe WHERE fe.user_id = target_user_id;
END;
