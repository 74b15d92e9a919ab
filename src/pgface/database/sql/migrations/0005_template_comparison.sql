-- Both looks compare the templates themselves before any embedding: a template is one read where a user's embeddings are
-- several, so many can be proposed by their signs and few are compared by all of their embeddings.

-- ANALYZE would copy some embeddings into PostgreSQL's statistics, where they outlive those they were made of.
ALTER TABLE face_embeddings ALTER COLUMN embedding SET STATISTICS 0;
ALTER TABLE user_templates ALTER COLUMN template SET STATISTICS 0;
ALTER TABLE template_bits ALTER COLUMN bits SET STATISTICS 0;

-- nearest_users(probe, template_ids, max_users)
-- The users of those templates which are nearest to the probe, each once.
CREATE OR REPLACE FUNCTION nearest_users(
    probe halfvec(512),
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
            SELECT t.user_id, t.template <=> probe AS distance
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
-- The first look: the users of the templates that an index finds nearest to the probe. The effort is hnsw.ef_search (1 to 1000) or
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
    -- Of norm 1, because halfvec has neither very large numbers nor very small ones.
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512);
BEGIN
    PERFORM set_config(CASE method WHEN 'ivfflat' THEN 'ivfflat.probes' ELSE 'hnsw.ef_search' END, effort::text, true);
    -- The constant limits are for the planner, which cannot know how many are wanted and would expect a tenth of the table.
    IF method = 'hnsw_binary' THEN
        probe_bits := binary_quantize(query_embedding)::bit(512);
        RETURN nearest_users(
            probe,
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
        l2_normalize(query_embedding)::halfvec(512),
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

-- remember_stale_templates()
-- Notes whose embeddings have changed, and removes templates that tell of an embedding that is gone.
CREATE OR REPLACE FUNCTION remember_stale_templates()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM user_templates;
        DELETE FROM stale_templates;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        -- Waits for whoever is making this user's templates just now, and then sees them.
        PERFORM FROM users u WHERE u.id = OLD.user_id FOR SHARE;
        -- Of a user who is erased as a whole everything goes by itself, and nothing is left to be made.
        IF FOUND THEN
            -- At once: what has been erased must not live on in a mean.
            DELETE FROM user_templates t WHERE t.user_id = OLD.user_id;
            INSERT INTO stale_templates (user_id) VALUES (OLD.user_id);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO stale_templates (user_id) VALUES (NEW.user_id);
    END IF;
    RETURN NULL;
END;
$$;

-- refresh_templates(max_users)
-- Makes the templates of users whose embeddings have changed, as many as are given at most, and returns how many users
-- that were: call it until it returns 0. pgface does so in the background; whoever enrolls by SQL alone calls it now and then.
--
-- Users who are being erased, whose embeddings are, or who are refreshed just now are left out; should it have to wait for
-- anybody all the same, it gives up (lock_timeout) before PostgreSQL finds a deadlock and chooses whom to refuse.
CREATE OR REPLACE FUNCTION refresh_templates(max_users INTEGER DEFAULT 100)
RETURNS INTEGER
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '200ms'
AS $$
DECLARE
    taken INTEGER[];
    -- Photos that would not be verified as one person's by one another do not go together.
    least_similarity float := (SELECT greatest(g.verify_threshold, 0.1) FROM gallery g);
BEGIN
    DELETE FROM stale_templates s WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = s.user_id);
    taken := ARRAY(
        SELECT u.id
        FROM users u
        WHERE u.id IN (SELECT s.user_id FROM stale_templates s)
        ORDER BY u.id
        LIMIT max_users
        FOR NO KEY UPDATE SKIP LOCKED
    );
    -- First the notes, then the embeddings: what is enrolled in between leaves a note that stays.
    DELETE FROM stale_templates s WHERE s.user_id = ANY (taken);
    DELETE FROM user_templates t WHERE t.user_id = ANY (taken);
    -- One template is enough where every embedding is as near to the mean as photos of that similarity would be: n unit
    -- vectors with pairwise cosine c have the cosine sqrt((1 + (n - 1) c) / n) with their mean. Opposite ones have no mean.
    WITH means AS (
        SELECT fe.user_id, avg(l2_normalize(fe.embedding)) AS mean, count(*) AS photos
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
        GROUP BY fe.user_id
    )
    INSERT INTO user_templates (user_id, template)
    SELECT means.user_id, l2_normalize(means.mean)::halfvec(512)
    FROM means
    WHERE vector_norm(means.mean) > 1e-3
        AND (
            SELECT bool_and(
                1 - (fe.embedding <=> means.mean)
                    >= sqrt((1 + (means.photos - 1) * least_similarity) / means.photos) - 1e-6
            )
            FROM face_embeddings fe
            WHERE fe.user_id = means.user_id
        );
    INSERT INTO user_templates (user_id, template)
    SELECT ungrouped.user_id, groups.template
    FROM (
        SELECT DISTINCT fe.user_id
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
            AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = fe.user_id)
    ) ungrouped
    CROSS JOIN LATERAL templates_of_groups(ungrouped.user_id, least_similarity) AS groups(template);
    INSERT INTO template_bits (template_id, user_id, bits)
    SELECT t.id, t.user_id, binary_quantize(t.template)::bit(512)
    FROM user_templates t
    WHERE t.user_id = ANY (taken);
    RETURN cardinality(taken);
END;
$$;

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
    proposed INTEGER[];
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
            proposed := users_by_signs(
                query_embedding, max_results + search.second_effort, 2 * max_results + more_spare
            );
            -- Fewer where the templates of a few users, who have very many, have filled the list: then everybody is compared.
            IF cardinality(proposed) >= max_results + more_spare THEN
                RETURN QUERY SELECT * FROM compare_with_users(query_embedding, threshold, max_results, proposed);
                RETURN;
            END IF;
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM find_similar_faces_exactly(query_embedding, threshold, max_results);
END;
$$;

DROP FUNCTION IF EXISTS find_similar_faces_by_index(vector, float, integer, text, integer);
DROP FUNCTION IF EXISTS find_similar_faces_by_templates(vector, float, integer, integer);

-- Galleries that have templates already are given new ones, and fitted anew, by `pgface init`.
DROP INDEX IF EXISTS idx_user_templates_ivfflat;
INSERT INTO stale_templates (user_id) SELECT DISTINCT t.user_id FROM user_templates t;
UPDATE gallery_search SET first_effort = NULL WHERE method <> 'exact';
