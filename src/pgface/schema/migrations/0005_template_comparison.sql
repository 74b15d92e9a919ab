-- Both looks compare the templates themselves before any embedding: a template is one read where a user's embeddings are
-- several, so many can be proposed by their signs and few are compared by all of their embeddings.

-- ANALYZE would copy some embeddings into PostgreSQL's statistics, where they outlive those they were made of.
ALTER TABLE face_embeddings ALTER COLUMN embedding SET STATISTICS 0;
ALTER TABLE user_templates ALTER COLUMN template SET STATISTICS 0;
ALTER TABLE template_bits ALTER COLUMN bits SET STATISTICS 0;

-- nearest_users(query_embedding, template_ids, max_users)
-- The users of those templates which are nearest to the probe, each once.
CREATE OR REPLACE FUNCTION nearest_users(
    query_embedding vector(512),
    template_ids BIGINT[],
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT array_agg(nearest.user_id)
    FROM (
        SELECT candidate.user_id
        FROM unnest(template_ids) AS proposed(id)
        CROSS JOIN LATERAL (
            SELECT t.user_id, t.template <=> query_embedding::halfvec(512) AS distance
            FROM user_templates t
            WHERE t.id = proposed.id
            -- Nothing to cut off: it keeps the planner from reading all templates where it expects many ids.
            LIMIT 1
        ) candidate
        GROUP BY candidate.user_id
        ORDER BY min(candidate.distance)
        LIMIT max_users
    ) nearest;
END;

-- users_by_index(query_embedding, method, effort, max_users)
-- The first look: the users whose templates an index finds nearest to the probe. The effort is hnsw.ef_search (1 to 1000) or
-- ivfflat.probes.
CREATE OR REPLACE FUNCTION users_by_index(
    query_embedding vector(512),
    method text,
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
-- Given back to the session as they were when the function ends.
SET hnsw.ef_search = 40
SET ivfflat.probes = 1
SET jit = off
-- Or PostgreSQL would plan every call anew, because it expects longer lists where it does not know the limit.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    probe halfvec(512) := query_embedding::halfvec(512);
    probe_bits bit(512);
BEGIN
    PERFORM set_config(CASE method WHEN 'ivfflat' THEN 'ivfflat.probes' ELSE 'hnsw.ef_search' END, effort::text, true);
    -- The constant limits are for the planner, which cannot know how many are wanted and would expect a tenth of the table.
    IF method = 'hnsw_binary' THEN
        probe_bits := binary_quantize(query_embedding)::bit(512);
        RETURN nearest_users(
            query_embedding,
            ARRAY(
                SELECT near.template_id
                FROM (SELECT b.template_id FROM template_bits b ORDER BY b.bits <~> probe_bits LIMIT 1000) near
                LIMIT effort
            ),
            max_users
        );
    END IF;
    -- Two operators, so that each kind of index is used for its own method while both are there. Templates have norm 1, so
    -- either gives the same order.
    IF method = 'ivfflat' THEN
        RETURN ARRAY(
            SELECT near.user_id
            FROM (SELECT t.user_id FROM user_templates t ORDER BY t.template <#> probe LIMIT 1000) near
            LIMIT max_users
        );
    END IF;
    RETURN ARRAY(
        SELECT near.user_id
        FROM (SELECT t.user_id FROM user_templates t ORDER BY t.template <=> probe LIMIT 1000) near
        LIMIT max_users
    );
END;
$$;

-- users_by_signs(query_embedding, effort, max_users)
-- The second look: the signs of every template are compared with the probe's, and of the nearest, as many as the effort says,
-- the templates themselves. No index takes part, so nobody is missed because of one.
CREATE OR REPLACE FUNCTION users_by_signs(
    query_embedding vector(512),
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
BEGIN
    RETURN nearest_users(
        query_embedding,
        -- The sum keeps an index on the bits out of it.
        ARRAY(SELECT b.template_id FROM template_bits b ORDER BY (b.bits <~> probe_bits) + 0.0 LIMIT effort),
        max_users
    );
END;
$$;

-- compare_with_users(query_embedding, similarity_threshold, max_results, user_ids)
-- As find_similar_faces among some users only: those who were proposed, and those whose templates are not up to date. Each
-- one's best embedding, exactly.
CREATE OR REPLACE FUNCTION compare_with_users(
    query_embedding vector(512),
    similarity_threshold float,
    max_results integer,
    user_ids INTEGER[]
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
    SELECT u.id, u.name, u.email, best.similarity, best.embedding_id
    FROM (
        SELECT nearest.*
        FROM (SELECT unnest(user_ids) AS id UNION SELECT s.user_id FROM stale_templates s) candidate
        CROSS JOIN LATERAL (
            SELECT fe.user_id, fe.id AS embedding_id, 1 - (fe.embedding <=> query_embedding) AS similarity
            FROM face_embeddings fe
            WHERE fe.user_id = candidate.id
            -- By similarity and not by distance, which an index on the embeddings would offer to order: it would then give
            -- its few nearest of everybody's embeddings, and this user's only if they are among them.
            ORDER BY 1 - (fe.embedding <=> query_embedding) DESC, fe.id
            LIMIT 1
        ) nearest
        WHERE nearest.similarity >= similarity_threshold
        ORDER BY nearest.similarity DESC, nearest.embedding_id
        LIMIT max_results
    ) best
    JOIN users u ON u.id = best.user_id
    ORDER BY best.similarity DESC, best.embedding_id;
END;

-- find_similar_faces(query_embedding, similarity_threshold, max_results)
-- The best people above the threshold, best first, each user once with their best embedding. A threshold of NULL
-- means the gallery's own for identification.
--
-- Small galleries are scanned, large ones searched through the templates. A scan also answers where the index
-- would not do: for long lists, while many templates are out of date (a bulk load), and for a role that may not read
-- the templates.
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
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    longest_list CONSTANT integer := 50;
    many_stale CONSTANT integer := 1000;
    -- How many more users are compared by all of their embeddings than are wanted, after the first look and after the second.
    spare CONSTANT integer := 2;
    more_spare CONSTANT integer := 20;
    search gallery_search;
    threshold float := coalesce(similarity_threshold, (SELECT g.identify_threshold FROM gallery g));
BEGIN
    SELECT * INTO search FROM gallery_search;
    IF search.method <> 'exact'
        AND query_embedding IS NOT NULL
        AND max_results <= longest_list
        AND has_table_privilege('user_templates', 'SELECT')
        AND has_table_privilege('template_bits', 'SELECT')
        AND has_table_privilege('stale_templates', 'SELECT')
    THEN
        PERFORM require_cosine(query_embedding);
        IF many_stale > (SELECT count(*) FROM (SELECT FROM stale_templates LIMIT many_stale) s) THEN
            -- While the index is being built anew there is no first effort.
            IF max_results = 1 AND search.first_effort IS NOT NULL THEN
                RETURN QUERY
                    SELECT * FROM compare_with_users(
                        query_embedding, greatest(threshold, search.certain_similarity), 1,
                        users_by_index(query_embedding, search.method, search.first_effort, 1 + spare)
                    );
                IF FOUND THEN
                    RETURN;
                END IF;
            END IF;
            RETURN QUERY
                SELECT * FROM compare_with_users(
                    query_embedding, threshold, max_results,
                    users_by_signs(query_embedding, max_results + search.second_effort, 2 * max_results + more_spare)
                );
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM find_similar_faces_exactly(query_embedding, threshold, max_results);
END;
$$;

DROP FUNCTION IF EXISTS find_similar_faces_by_index(vector, float, integer, text, integer);
DROP FUNCTION IF EXISTS find_similar_faces_by_templates(vector, float, integer, integer);

-- One of the operator that is not asked for any more; `pgface init` fits another.
DROP INDEX IF EXISTS idx_user_templates_ivfflat;
UPDATE gallery_search SET first_effort = NULL WHERE method = 'ivfflat';
