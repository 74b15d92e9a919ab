-- What other systems know about people and faces: ids of their own, labels, and metadata.
ALTER TABLE users ADD COLUMN IF NOT EXISTS external_id TEXT DEFAULT NULL;
ALTER TABLE users ADD COLUMN IF NOT EXISTS labels TEXT[] NOT NULL DEFAULT '{}';
ALTER TABLE users ADD COLUMN IF NOT EXISTS metadata JSONB NOT NULL DEFAULT '{}';
-- A face that no person was assigned to yet belongs to a user of its own. Lists of people leave these users out.
ALTER TABLE users ADD COLUMN IF NOT EXISTS is_person BOOLEAN NOT NULL DEFAULT TRUE;

-- Citus accepts constraints of new columns only as statements of their own, and with a name.
ALTER TABLE users DROP CONSTRAINT IF EXISTS users_external_id_check;
ALTER TABLE users ADD CONSTRAINT users_external_id_check CHECK (length(external_id) BETWEEN 1 AND 255);
ALTER TABLE users DROP CONSTRAINT IF EXISTS users_metadata_check;
ALTER TABLE users ADD CONSTRAINT users_metadata_check
    CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384);

CREATE UNIQUE INDEX IF NOT EXISTS idx_users_external_id ON users(external_id);
CREATE INDEX IF NOT EXISTS idx_users_labels ON users USING gin (labels);

-- Lasting ids of faces for programs that were written for another service. Such a program keeps an id for years, so an import
-- can set it, and enrolling the same photo again does not have to change it.
CREATE TABLE IF NOT EXISTS face_ids (
    face_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    -- Without a foreign key, which would refuse TRUNCATE face_embeddings. Triggers delete the row with its embedding.
    embedding_id INTEGER UNIQUE NOT NULL,
    image_id UUID NOT NULL DEFAULT gen_random_uuid(),
    external_image_id TEXT CHECK (length(external_image_id) BETWEEN 1 AND 255),
    -- The size of the photo, for boxes as shares of it, and the hash of its file, which finds faces that were indexed before.
    -- photos has that hash, too, but a user has a photo there only once.
    image_width INTEGER CHECK (image_width > 0),
    image_height INTEGER CHECK (image_height > 0),
    image_sha256 TEXT
);

CREATE INDEX IF NOT EXISTS idx_face_ids_image_id ON face_ids(image_id);
CREATE INDEX IF NOT EXISTS idx_face_ids_image_sha256 ON face_ids(image_sha256);

CREATE OR REPLACE FUNCTION remove_face_ids()
RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    -- Citus cannot join the table of deleted rows with other tables.
    ids INTEGER[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM face_ids;
    ELSE
        ids := ARRAY(SELECT g.id FROM gone g);
        DELETE FROM face_ids f WHERE f.embedding_id IN (SELECT unnest(ids));
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION remove_face_ids() IS 'Internal: deletes the lasting ids of deleted embeddings.';

CREATE OR REPLACE TRIGGER remove_face_ids
AFTER DELETE ON face_embeddings
REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT
EXECUTE FUNCTION remove_face_ids();

CREATE OR REPLACE TRIGGER remove_face_ids_of_truncated
AFTER TRUNCATE ON face_embeddings
FOR EACH STATEMENT
EXECUTE FUNCTION remove_face_ids();

REVOKE EXECUTE ON FUNCTION remove_face_ids() FROM PUBLIC;

-- Identification among a part of the people. An index of all people cannot be filtered afterwards: the candidates that it
-- proposes may all be of other people. So few people are compared one by one. Among many people, the second look of
-- find_similar_faces proposes candidates, and it passes over the others before it counts candidates.
CREATE OR REPLACE FUNCTION find_similar_faces_among(
    query_embedding vector(512),
    with_labels TEXT[],
    similarity_threshold float DEFAULT NULL,
    max_results integer DEFAULT 1,
    people_only boolean DEFAULT FALSE
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
    -- As in find_similar_faces.
    max_list CONSTANT integer := 50;
    max_stale CONSTANT integer := 1000;
    second_spare CONSTANT integer := 20;
    wanted CONSTANT TEXT[] := coalesce(with_labels, '{}');
    threshold CONSTANT float := coalesce(similarity_threshold, (SELECT g.identify_threshold FROM gallery g));
    search gallery_search;
    max_few integer;
    candidates INTEGER[];
BEGIN
    IF query_embedding IS NULL THEN
        RETURN;
    END IF;
    PERFORM require_cosine(query_embedding);
    SELECT * INTO search FROM gallery_search;
    -- With five photos each, one percent of the people. To compare them takes about as long as the second look at all people.
    max_few := greatest(1000, search.embeddings / 500);
    candidates := ARRAY(
        SELECT u.id FROM users u WHERE u.labels @> wanted AND (u.is_person OR NOT people_only) LIMIT max_few + 1
    );
    IF cardinality(candidates) <= max_few THEN
        RETURN QUERY SELECT * FROM compare_with_only(query_embedding, threshold, max_results, candidates);
        RETURN;
    END IF;
    IF search.method <> 'exact'
        AND max_results <= max_list
        AND has_table_privilege('user_templates', 'SELECT')
        AND has_table_privilege('template_bits', 'SELECT')
        AND has_table_privilege('stale_templates', 'SELECT')
        AND max_stale > (SELECT count(*) FROM (SELECT FROM stale_templates LIMIT max_stale) s)
    THEN
        -- Four times the effort of find_similar_faces, because its agreement is not measured for each label. It takes a quarter
        -- more time.
        candidates := users_by_signs_among(
            query_embedding, wanted, people_only, 4 * (max_results + search.second_effort), 2 * max_results + second_spare
        );
        -- There are fewer if the many templates of a few users fill the list. Then a scan answers.
        IF cardinality(candidates) >= max_results + second_spare THEN
            candidates := candidates || ARRAY(
                SELECT u.id
                FROM (SELECT DISTINCT t.user_id FROM stale_templates t) stale
                JOIN users u ON u.id = stale.user_id
                WHERE u.id <> ALL (candidates) AND u.labels @> wanted AND (u.is_person OR NOT people_only)
            );
            RETURN QUERY SELECT * FROM compare_with_only(query_embedding, threshold, max_results, candidates);
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
        SELECT f.user_id, f.user_name, f.user_email, f.similarity, f.embedding_id
        FROM find_similar_faces_exactly(query_embedding, threshold, NULL) f
        JOIN users u ON u.id = f.user_id
        WHERE u.labels @> wanted AND (u.is_person OR NOT people_only)
        ORDER BY f.similarity DESC, f.embedding_id
        LIMIT max_results;
END;
$$;

COMMENT ON FUNCTION find_similar_faces_among(vector, text[], float, integer, boolean) IS
    'The same as find_similar_faces, but only among the people who have all of these labels. Every other person is left out before '
    'the search, so the answer is as exact as without labels. With people_only, faces that no person was assigned to are left out, '
    'too.';

CREATE OR REPLACE FUNCTION users_by_signs_among(
    query_embedding vector(512),
    with_labels TEXT[],
    people_only boolean,
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
    -- As in users_by_signs.
    near CONSTANT integer := 240;
    all_signs CONSTANT integer := 513;
    max_distance integer;
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    nearest BIGINT[];
BEGIN
    FOREACH max_distance IN ARRAY ARRAY[near, all_signs] LOOP
        -- LIMIT 1 removes no row. It keeps the planner from reading all users: they are looked up in the order of the signs,
        -- until there are enough.
        nearest := ARRAY(
            SELECT s.template_id
            FROM (
                SELECT b.template_id, b.user_id, hamming_distance(b.bits, probe_bits) AS distance
                FROM template_bits b
                WHERE hamming_distance(b.bits, probe_bits) < max_distance
                ORDER BY distance
            ) s
            CROSS JOIN LATERAL (
                SELECT FROM users u
                WHERE u.id = s.user_id AND u.labels @> with_labels AND (u.is_person OR NOT people_only)
                LIMIT 1
            ) among
            ORDER BY s.distance
            LIMIT effort
        );
        EXIT WHEN cardinality(nearest) >= effort;
    END LOOP;
    RETURN nearest_users(probe, nearest, max_users);
END;
$$;

COMMENT ON FUNCTION users_by_signs_among(vector, text[], boolean, integer, integer) IS
    'Internal: the same as users_by_signs, but only of people with all of these labels.';

CREATE OR REPLACE FUNCTION compare_with_only(
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
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT u.id, u.name, u.email, best.similarity, best.embedding_id
        FROM (
            SELECT nearest.*
            FROM unnest(user_ids) AS candidate(id)
            CROSS JOIN LATERAL (
                SELECT fe.user_id, fe.id AS embedding_id, 1 - (fe.embedding <=> query_embedding) AS similarity
                FROM face_embeddings fe
                WHERE fe.user_id = candidate.id
                -- By similarity and not by distance, as in compare_with_users.
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
$$;

COMMENT ON FUNCTION compare_with_only(vector, float, integer, integer[]) IS
    'Internal: the same as find_similar_faces, but only among these users. Compares all of their embeddings.';

-- Without faces that no person was assigned to.
CREATE OR REPLACE FUNCTION gallery_size()
RETURNS TABLE(users BIGINT, embeddings BIGINT)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    millions CONSTANT BIGINT := 1000000;
BEGIN
    SELECT c.reltuples::bigint INTO users FROM pg_class c WHERE c.oid = 'users'::regclass;
    SELECT c.reltuples::bigint INTO embeddings FROM pg_class c WHERE c.oid = 'face_embeddings'::regclass;
    IF users < millions THEN
        users := (SELECT count(*) FROM users u WHERE u.is_person);
    END IF;
    IF embeddings < millions THEN
        embeddings := (SELECT count(*) FROM face_embeddings fe);
    END IF;
    RETURN NEXT;
END;
$$;
