-- The second look of a huge gallery: on several cores, and with fewer templates to sort. Compared in research/search.md.

CREATE OR REPLACE FUNCTION near_by_signs(probe_bits bit(512), wanted integer)
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    -- One template in 200, from pages that are spread over the table. The same pages each time, so that the same probe always
    -- takes the same time.
    RETURN (
        SELECT sampled.distance
        FROM (
            SELECT hamming_distance(b.bits, probe_bits)::integer AS distance
            FROM template_bits b TABLESAMPLE SYSTEM (0.5) REPEATABLE (1)
        ) sampled
        ORDER BY sampled.distance
        OFFSET wanted / 200
        LIMIT 1
    );
END;
$$;

COMMENT ON FUNCTION near_by_signs(bit, integer) IS
    'Internal: estimates from a sample in how many signs the nearest templates differ from the probe, if you want this many of '
    'them. NULL if the gallery is too small for a sample.';

CREATE OR REPLACE FUNCTION templates_by_signs(probe_bits bit(512), max_distance integer, effort integer)
RETURNS BIGINT[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
-- A plan of its own for each probe, so that the variables are not looked up again for each template.
SET plan_cache_mode = force_custom_plan
-- From 430,000 people on, so that a worker compares many more templates than its start costs.
SET min_parallel_table_scan_size = '48MB'
AS $$
BEGIN
    -- RETURN, because PL/pgSQL uses parallel workers for it and not for an assignment.
    -- hamming_distance() and not its operator, for which the planner could use an index on the bits.
    RETURN ARRAY(
        SELECT b.template_id
        FROM template_bits b
        WHERE hamming_distance(b.bits, probe_bits) < max_distance
        ORDER BY hamming_distance(b.bits, probe_bits), b.template_id
        LIMIT effort
    );
END;
$$;

COMMENT ON FUNCTION templates_by_signs(bit, integer, integer) IS
    'Internal: the nearest templates of those that differ from the probe in fewer signs than max_distance. Compares all '
    'templates, in a large gallery with parallel workers.';

CREATE OR REPLACE FUNCTION users_by_signs(
    query_embedding vector(512),
    effort integer,
    max_users integer
)
RETURNS INTEGER[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    -- Two strangers differ in 256 of 512 signs on average, and one pair in thirteen in fewer than 240.
    near_in_small_gallery CONSTANT integer := 240;
    all_signs CONSTANT integer := 513;
    -- Ten times as many as needed, so that an estimate from few templates is rarely too small.
    spare CONSTANT integer := 10;
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    max_distance integer;
    nearest BIGINT[];
BEGIN
    FOREACH max_distance IN ARRAY ARRAY[
        coalesce(near_by_signs(probe_bits, spare * effort), near_in_small_gallery), all_signs
    ] LOOP
        nearest := templates_by_signs(probe_bits, max_distance, effort);
        EXIT WHEN cardinality(nearest) >= effort;
    END LOOP;
    RETURN nearest_users(probe, nearest, max_users);
END;
$$;

COMMENT ON FUNCTION users_by_signs(vector, integer, integer) IS
    'Internal: the second look. Compares the signs of every template with those of the probe. Then it compares the nearest '
    'templates themselves, as many as the effort. It uses no index, so an index cannot make it miss a person.';

CREATE OR REPLACE FUNCTION templates_by_signs_among(
    probe_bits bit(512),
    with_labels TEXT[],
    people_only boolean,
    max_distance integer,
    effort integer
)
RETURNS BIGINT[]
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
SET plan_cache_mode = force_custom_plan
-- From 430,000 people on, so that a worker compares many more templates than its start costs.
SET min_parallel_table_scan_size = '48MB'
AS $$
BEGIN
    -- LIMIT 1 removes no row. It keeps the planner from reading all users: they are looked up in the order of the signs, until
    -- there are enough.
    RETURN ARRAY(
        SELECT s.template_id
        FROM (
            SELECT b.template_id, b.user_id, hamming_distance(b.bits, probe_bits) AS distance
            FROM template_bits b
            WHERE hamming_distance(b.bits, probe_bits) < max_distance
            ORDER BY distance, b.template_id
        ) s
        CROSS JOIN LATERAL (
            SELECT FROM users u
            WHERE u.id = s.user_id AND u.labels @> with_labels AND (u.is_person OR NOT people_only)
            LIMIT 1
        ) among
        ORDER BY s.distance, s.template_id
        LIMIT effort
    );
END;
$$;

COMMENT ON FUNCTION templates_by_signs_among(bit, text[], boolean, integer, integer) IS
    'Internal: the same as templates_by_signs, but only of people with all of these labels.';

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
AS $$
DECLARE
    -- As in users_by_signs. A label may be that of one person in fifty.
    near_in_small_gallery CONSTANT integer := 240;
    all_signs CONSTANT integer := 513;
    spare CONSTANT integer := 100;
    probe halfvec(512) := l2_normalize(query_embedding)::halfvec(512);
    probe_bits bit(512) := binary_quantize(query_embedding)::bit(512);
    max_distance integer;
    nearest BIGINT[];
BEGIN
    FOREACH max_distance IN ARRAY ARRAY[
        coalesce(near_by_signs(probe_bits, spare * effort), near_in_small_gallery), all_signs
    ] LOOP
        nearest := templates_by_signs_among(probe_bits, with_labels, people_only, max_distance, effort);
        EXIT WHEN cardinality(nearest) >= effort;
    END LOOP;
    RETURN nearest_users(probe, nearest, max_users);
END;
$$;

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
    THEN
        -- In a condition of its own: on a cluster, a condition that reads a table is evaluated on the node of the table.
        IF max_stale > (SELECT count(*) FROM (SELECT FROM stale_templates LIMIT max_stale) s) THEN
            -- Four times the effort of find_similar_faces, because its agreement is not measured for each label. It takes a
            -- quarter more time.
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

-- CompreFace's API: without the subject of every embedding, if the nearest ones have a subject.
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
    IF EXISTS (SELECT FROM gallery_search s WHERE s.method <> 'exact') THEN
        FOREACH asked IN ARRAY ARRAY[max_results, 2 * max_results] LOOP
            EXIT WHEN asked > max_people;
            near := ARRAY(
                SELECT f.user_id
                FROM find_similar_faces(query_embedding, -1, asked) f
                JOIN users u ON u.id = f.user_id
                WHERE u.external_id IS NOT NULL
            );
            EXIT WHEN cardinality(near) >= max_results;
        END LOOP;
    ELSE
        -- A user is there once for each near embedding.
        near := ARRAY(
            SELECT u.id
            FROM (
                SELECT fe.user_id
                FROM face_embeddings fe
                -- The expression keeps PostgreSQL from reading a vector index, which would return too few rows.
                ORDER BY 1 - (fe.embedding <=> query_embedding) DESC, fe.id
                LIMIT 2 * max_results
            ) nearest
            JOIN users u ON u.id = nearest.user_id
            WHERE u.external_id IS NOT NULL
        );
    END IF;
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
    RETURN QUERY
        SELECT fe.id, u.external_id, 1 - (fe.embedding <=> query_embedding)
        FROM face_embeddings fe
        JOIN users u ON u.id = fe.user_id
        WHERE u.external_id IS NOT NULL
        ORDER BY 3 DESC, 1
        LIMIT max_results;
END;
$$;
