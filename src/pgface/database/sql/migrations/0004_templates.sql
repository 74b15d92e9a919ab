-- Search in large galleries: a template or a few for each user propose people, and these are compared exactly, by all of
-- their embeddings. A first look goes through an index; where it finds nobody beyond doubt, a second one goes through every
-- template, one bit for each dimension.

-- Loads pgvector's library into this session, so that its settings are known to PostgreSQL below.
SELECT '[1]'::vector;

-- The normalised mean of a user's embeddings; several where they do not go together. Biometric data like the embeddings
-- that they are made of, so they go when those go.
CREATE TABLE IF NOT EXISTS user_templates (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL,
    template halfvec(512) NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

CREATE INDEX IF NOT EXISTS idx_user_templates_user_id ON user_templates(user_id);

-- The signs of each template, in a narrow table of its own: it is read from end to end.
CREATE TABLE IF NOT EXISTS template_bits (
    template_id BIGINT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    bits bit(512) NOT NULL,
    FOREIGN KEY (template_id) REFERENCES user_templates(id) ON DELETE CASCADE
);

-- Users whose embeddings have changed since their templates were made. Until that is done they are compared exactly in every
-- search, so that a face is found as soon as it is enrolled. Rows are only added here, often several for a user: nobody
-- waits for anybody else's transaction.
CREATE TABLE IF NOT EXISTS stale_templates (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL
);

-- How identification searches, one row: what is wanted, what is used, and how that was found.
CREATE TABLE IF NOT EXISTS gallery_search (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    choice TEXT NOT NULL DEFAULT 'auto' CHECK (choice IN ('auto', 'exact', 'hnsw', 'hnsw_binary', 'ivfflat')),
    method TEXT NOT NULL DEFAULT 'exact' CHECK (method IN ('exact', 'hnsw', 'hnsw_binary', 'ivfflat')),
    -- Of the first look: hnsw.ef_search or ivfflat.probes.
    first_effort INTEGER,
    -- Of the second look: how many of the nearest templates' users are compared exactly.
    second_effort INTEGER,
    -- What one stranger of a thousand reaches: who is more similar than that after the first look needs no second one.
    certain_similarity FLOAT,
    -- Share of probes for which the index and the exact scan gave the same person, with its 95 % interval.
    agreement FLOAT,
    agreement_low FLOAT,
    agreement_high FLOAT,
    probes INTEGER,
    -- When the method was last chosen: milliseconds of an exact scan, the gallery's size, and how many rows had been changed
    -- by then since the server began to count.
    scan_ms FLOAT,
    embeddings BIGINT NOT NULL DEFAULT 0,
    changes BIGINT NOT NULL DEFAULT 0,
    chosen_at TIMESTAMPTZ
);

INSERT INTO gallery_search DEFAULT VALUES ON CONFLICT DO NOTHING;

-- As for `gallery`: the planner knows that it is one row, and it holds nothing personal.
ANALYZE gallery_search;
GRANT SELECT ON gallery_search TO PUBLIC;

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
        -- At once: what has been erased must not live on in a mean.
        DELETE FROM user_templates t WHERE t.user_id = OLD.user_id;
        INSERT INTO stale_templates (user_id) VALUES (OLD.user_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO stale_templates (user_id) VALUES (NEW.user_id);
    END IF;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER remember_stale_templates
AFTER INSERT OR DELETE ON face_embeddings
FOR EACH ROW
EXECUTE FUNCTION remember_stale_templates();

CREATE OR REPLACE TRIGGER remember_stale_templates_of_changed
AFTER UPDATE ON face_embeddings
FOR EACH ROW
WHEN (OLD.embedding IS DISTINCT FROM NEW.embedding OR OLD.user_id IS DISTINCT FROM NEW.user_id)
EXECUTE FUNCTION remember_stale_templates();

CREATE OR REPLACE TRIGGER remove_templates_of_truncated
AFTER TRUNCATE ON face_embeddings
FOR EACH STATEMENT
EXECUTE FUNCTION remember_stale_templates();

INSERT INTO stale_templates (user_id)
SELECT DISTINCT fe.user_id
FROM face_embeddings fe
WHERE NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = fe.user_id)
    AND NOT EXISTS (SELECT FROM stale_templates s WHERE s.user_id = fe.user_id);

-- templates_of_groups(target_user_id, least_similarity)
-- For a user whose photos do not go together (a child and a grown-up, two people who share an account): a template for each
-- group of embeddings that are at least so similar to the group's first. After 32 groups, every embedding left is one.
CREATE OR REPLACE FUNCTION templates_of_groups(target_user_id INTEGER, least_similarity float)
RETURNS SETOF halfvec
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    ungrouped INTEGER[] := ARRAY(SELECT fe.id FROM face_embeddings fe WHERE fe.user_id = target_user_id ORDER BY fe.id);
    members INTEGER[];
BEGIN
    FOR group_number IN 1..32 LOOP
        EXIT WHEN cardinality(ungrouped) = 0;
        members := ARRAY(
            SELECT fe.id
            FROM face_embeddings fe, face_embeddings first_one
            WHERE first_one.id = ungrouped[1]
                AND fe.id = ANY (ungrouped)
                AND (fe.id = first_one.id OR 1 - (fe.embedding <=> first_one.embedding) >= least_similarity)
        );
        RETURN QUERY
            SELECT l2_normalize(avg(l2_normalize(fe.embedding)))::halfvec(512)
            FROM face_embeddings fe
            WHERE fe.id = ANY (members);
        ungrouped := ARRAY(
            SELECT id FROM unnest(ungrouped) WITH ORDINALITY AS u(id, place)
            WHERE id <> ALL (members) ORDER BY place
        );
    END LOOP;
    RETURN QUERY
        SELECT l2_normalize(fe.embedding)::halfvec(512) FROM face_embeddings fe WHERE fe.id = ANY (ungrouped);
END;
$$;

-- refresh_templates(max_users)
-- Makes the templates of users whose embeddings have changed, as many as are given at most, and returns how many users
-- that were: call it until it returns 0. pgface does so in the background; whoever enrolls by SQL alone calls it now and then.
--
-- Users who are being erased or refreshed just now are left out; should it have to wait for anybody all the same, it gives up
-- (lock_timeout) before PostgreSQL finds a deadlock and chooses whom to refuse.
CREATE OR REPLACE FUNCTION refresh_templates(max_users INTEGER DEFAULT 100)
RETURNS INTEGER
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '200ms'
AS $$
DECLARE
    taken INTEGER[];
    least_similarity float := (SELECT greatest(g.identify_threshold, 0.1) FROM gallery g);
BEGIN
    taken := ARRAY(
        SELECT u.id
        FROM users u
        WHERE u.id IN (SELECT s.user_id FROM stale_templates s)
        ORDER BY u.id
        LIMIT max_users
        FOR NO KEY UPDATE SKIP LOCKED
    );
    IF cardinality(taken) = 0 THEN
        DELETE FROM stale_templates s WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = s.user_id);
        RETURN 0;
    END IF;
    -- First the notes, then the embeddings: what is enrolled in between leaves a note that stays.
    DELETE FROM stale_templates s WHERE s.user_id = ANY (taken);
    DELETE FROM user_templates t WHERE t.user_id = ANY (taken);
    -- One template is enough where every embedding is as near to the mean as photos that are similar to one another by
    -- no more than the threshold would be: many unit vectors with pairwise cosine c have the cosine sqrt(c) with their mean.
    WITH means AS (
        SELECT fe.user_id, l2_normalize(avg(l2_normalize(fe.embedding))) AS mean
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
        GROUP BY fe.user_id
    )
    INSERT INTO user_templates (user_id, template)
    SELECT means.user_id, means.mean::halfvec(512)
    FROM means
    WHERE (
        SELECT bool_and(1 - (fe.embedding <=> means.mean) >= sqrt(least_similarity))
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

-- find_similar_faces_exactly(query_embedding, similarity_threshold, max_results)
-- As find_similar_faces, by comparing the probe with every embedding whatever the gallery's size.
CREATE OR REPLACE FUNCTION find_similar_faces_exactly(
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

-- compare_with_users(query_embedding, similarity_threshold, max_results, user_ids)
-- The same among some users only: each one's best embedding, exactly.
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
        FROM unnest(user_ids) AS candidate(id)
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

-- find_similar_faces_by_index(query_embedding, similarity_threshold, max_results, method, effort)
-- The first look: the users whose templates an index finds nearest to the probe, and those whose templates are not up to
-- date, compared exactly. The effort is hnsw.ef_search (1 to 1000) or ivfflat.probes.
CREATE OR REPLACE FUNCTION find_similar_faces_by_index(
    query_embedding vector(512),
    similarity_threshold float,
    max_results integer,
    method text,
    effort integer
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
-- Given back to the session as they were when the function ends.
SET hnsw.ef_search = 40
SET ivfflat.probes = 1
SET jit = off
-- Or PostgreSQL would plan every call anew, because it expects longer lists where it does not know the limit.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    probe halfvec(512) := query_embedding::halfvec(512);
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    wanted integer := max_results + CASE method WHEN 'hnsw' THEN effort / 5 + 2 WHEN 'hnsw_binary' THEN effort ELSE 40 END;
    candidates INTEGER[];
BEGIN
    PERFORM set_config(CASE method WHEN 'ivfflat' THEN 'ivfflat.probes' ELSE 'hnsw.ef_search' END, effort::text, true);
    -- The constant limits are for the planner, which cannot know how many are wanted and would expect a tenth of the table.
    IF method = 'hnsw_binary' THEN
        candidates := ARRAY(
            (
                SELECT near.user_id
                FROM (SELECT b.user_id FROM template_bits b ORDER BY b.bits <~> probe_bits LIMIT 300) near
                LIMIT wanted
            )
            UNION
            SELECT s.user_id FROM stale_templates s
        );
    ELSE
        candidates := ARRAY(
            (
                SELECT near.user_id
                FROM (SELECT t.user_id FROM user_templates t ORDER BY t.template <=> probe LIMIT 300) near
                LIMIT wanted
            )
            UNION
            SELECT s.user_id FROM stale_templates s
        );
    END IF;
    RETURN QUERY SELECT * FROM compare_with_users(query_embedding, similarity_threshold, max_results, candidates);
END;
$$;

-- find_similar_faces_by_templates(query_embedding, similarity_threshold, max_results, effort)
-- The second look: the users of the nearest templates, as many as the effort says, found by comparing the signs of every
-- template; and those whose templates are not up to date. No index takes part, so nobody is missed because of one.
CREATE OR REPLACE FUNCTION find_similar_faces_by_templates(
    query_embedding vector(512),
    similarity_threshold float,
    max_results integer,
    effort integer
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
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    candidates INTEGER[];
BEGIN
    candidates := ARRAY(
        -- The sum keeps an index on the bits out of it.
        (SELECT b.user_id FROM template_bits b ORDER BY (b.bits <~> probe_bits) + 0.0 LIMIT max_results + effort)
        UNION
        SELECT s.user_id FROM stale_templates s
    );
    RETURN QUERY SELECT * FROM compare_with_users(query_embedding, similarity_threshold, max_results, candidates);
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
AS $$
#variable_conflict use_column
DECLARE
    longest_list CONSTANT integer := 50;
    many_stale CONSTANT integer := 1000;
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
            IF max_results = 1 THEN
                RETURN QUERY
                    SELECT * FROM find_similar_faces_by_index(
                        query_embedding, greatest(threshold, search.certain_similarity), 1, search.method,
                        search.first_effort
                    );
                IF FOUND THEN
                    RETURN;
                END IF;
            END IF;
            RETURN QUERY
                SELECT * FROM find_similar_faces_by_templates(
                    query_embedding, threshold, max_results, search.second_effort
                );
            RETURN;
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM find_similar_faces_exactly(query_embedding, threshold, max_results);
END;
$$;
