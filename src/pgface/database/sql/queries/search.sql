-- How identification searches: templates, their indexes, and the agreement with the exact answer.

-- search_state --
-- The tables' part of it. process is the server process that holds the index lock.
SELECT choice, method, first_effort, second_effort, certain_similarity,
    agreement, agreement_low, agreement_high, probes, scan_ms, embeddings, changes, chosen_at,
    (SELECT count(DISTINCT user_id) FROM stale_templates) AS stale_users,
    l.process,
    l.process_since
FROM gallery_search
LEFT JOIN gallery_locks l ON l.name = 'index';

-- search_activity --
-- The catalog's part of it: how many rows of embeddings have changed since PostgreSQL began to count, and whether the process that
-- holds the index lock is alive.
SELECT
    changed_embeddings() AS changes_now,
    process_is_alive(%(process)s, %(process_since)s) AS fitting;

-- search_method --
SELECT method FROM gallery_search;

-- choose_exact_search --
UPDATE gallery_search
SET choice = %(choice)s,
    method = 'exact',
    first_effort = NULL,
    second_effort = NULL,
    certain_similarity = NULL,
    agreement = NULL,
    agreement_low = NULL,
    agreement_high = NULL,
    probes = NULL,
    scan_ms = %(scan_ms)s,
    embeddings = %(embeddings)s,
    changes = %(changes)s,
    chosen_at = now();

-- choose_index_search --
UPDATE gallery_search
SET choice = %(choice)s,
    method = %(method)s,
    first_effort = %(first_effort)s,
    second_effort = %(second_effort)s,
    certain_similarity = %(certain_similarity)s,
    agreement = %(agreement)s,
    agreement_low = %(agreement_low)s,
    agreement_high = %(agreement_high)s,
    probes = %(probes)s,
    scan_ms = %(scan_ms)s,
    embeddings = %(embeddings)s,
    changes = %(changes)s,
    chosen_at = now();

-- refresh_templates --
SELECT refresh_templates(%(max_users)s);

-- count_embeddings --
SELECT count(*) FROM face_embeddings;

-- count_templates --
SELECT count(*) FROM user_templates;

-- suspend_first_look --
-- Until there is an index again, searches compare every template.
UPDATE gallery_search
SET first_effort = NULL
WHERE method <> 'exact';

-- vacuum_stale_templates --
-- Every search reads this table. Dead rows of a load would slow it down until autovacuum deletes them.
VACUUM (SKIP_LOCKED) stale_templates;

-- analyze_embeddings --
-- Before many templates are made, because autovacuum may not have run yet.
ANALYZE users, face_embeddings, stale_templates;

-- analyze_templates --
ANALYZE user_templates, template_bits, stale_templates;

-- template_indexes --
-- The first look's indexes, and whether they are valid.
SELECT c.relname AS name, i.indisvalid AS valid
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid IN ('user_templates'::regclass, 'template_bits'::regclass)
    AND c.relname IN ('idx_user_templates_hnsw', 'idx_user_templates_ivfflat', 'idx_template_bits_hnsw');

-- sample_embeddings --
-- Random embeddings, each with the mean of all of its user's embeddings, and with the mean of the user's others: NULL for a user
-- with one embedding.
SELECT e.user_id, l2_normalize(e.embedding) AS embedding, own.mean, others.mean AS mean_of_others
FROM face_embeddings e TABLESAMPLE BERNOULLI (least(100, 100.0 * %(wanted)s / %(embeddings)s))
CROSS JOIN LATERAL (
    SELECT avg(l2_normalize(o.embedding)) AS mean
    FROM face_embeddings o
    WHERE o.user_id = e.user_id
) own
CROSS JOIN LATERAL (
    SELECT avg(l2_normalize(o.embedding)) AS mean
    FROM face_embeddings o
    WHERE o.user_id = e.user_id
        AND o.id <> e.id
) others;

-- find_similar_faces_exactly --
SELECT user_id, similarity
FROM find_similar_faces_exactly(%(embedding)s);

-- look_by_index --
-- The first look of find_similar_faces by itself. In a subquery, because PostgreSQL would otherwise run users_by_index once more
-- while planning.
SELECT user_id, similarity
FROM compare_with_users(
    %(embedding)s, -1, 1, (SELECT users_by_index(%(embedding)s, %(method)s, %(effort)s, 3))
);

-- look_by_signs --
-- The second look by itself.
SELECT user_id, similarity
FROM compare_with_users(
    %(embedding)s, -1, 1, (SELECT users_by_signs(%(embedding)s, 1 + %(effort)s, 22))
);

-- copy_out_embeddings --
COPY (SELECT user_id, embedding FROM face_embeddings) TO STDOUT (FORMAT BINARY);

-- note_users_not_searched --
INSERT INTO stale_templates (user_id)
SELECT u.id
FROM users u
WHERE EXISTS (SELECT FROM face_embeddings e WHERE e.user_id = u.id)
    AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = u.id)
    AND NOT EXISTS (SELECT FROM stale_templates s WHERE s.user_id = u.id);

-- flush_statistics --
-- Other sessions then see at once how many rows this session has changed.
SELECT pg_stat_force_next_flush();
