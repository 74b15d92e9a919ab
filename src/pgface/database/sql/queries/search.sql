-- How identification searches: templates, their indexes, and the agreement with the exact answer.

-- search_state --
-- The part of the state that is in tables. `process` is the server process with the index lock.
SELECT choice, method, first_effort, second_effort, certain_similarity,
    agreement, agreement_low, agreement_high, probes, scan_ms, embeddings, changes, chosen_at,
    (SELECT count(DISTINCT user_id) FROM stale_templates) AS stale_users,
    l.process,
    l.process_since
FROM gallery_search
LEFT JOIN gallery_locks l ON l.name = 'index';

-- search_activity --
-- The part of the state that is in the catalog: the number of changed rows of embeddings since PostgreSQL began to count, and
-- whether the process with the index lock is alive. A replica has counts and processes of its own, which say nothing about that.
SELECT
    changed_embeddings() AS changes_now,
    NOT pg_is_in_recovery() AND process_is_alive(%(process)s, %(process_since)s) AS fitting,
    pg_is_in_recovery() AS is_replica;

-- search_method --
SELECT method FROM gallery_search;

-- refresh_templates --
SELECT refresh_templates(%(max_users)s);

-- count_embeddings --
SELECT count(*) FROM face_embeddings;

-- suspend_index_search --
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

-- look_by_index --
-- The first look of find_similar_faces by itself. In a subquery, because PostgreSQL would otherwise run users_by_index once more
-- while planning.
SELECT user_id, similarity
FROM compare_with_users(
    %(embedding)s, -1, 1, (SELECT users_by_index(%(embedding)s, %(method)s, %(effort)s, 3))
);

-- copy_out_embeddings --
COPY (SELECT user_id, embedding FROM face_embeddings) TO STDOUT (FORMAT BINARY);

-- note_users_not_searched --
SELECT note_users_not_searched();

-- fastest_scan --
-- Seconds of an exact scan.
SELECT fastest_scan();

-- template_index --
-- The index that a method of search needs, and whether it is valid: NULL if there is none.
SELECT wanted.index_name AS name, wanted.definition, i.indisvalid AS valid
FROM template_index(%(method)s) wanted
LEFT JOIN pg_index i ON i.indexrelid = to_regclass(format('%%I.%%I', current_schema(), wanted.index_name));

-- count_templates --
SELECT count(*) FROM user_templates;

-- switch_search --
-- Measures a method and switches the search to it.
SELECT switch_search(%(choice)s, %(method)s, %(scan)s);

-- draw_probes --
-- Draws probes from the gallery's embeddings, with their users.
SELECT user_id, probe FROM draw_probes(%(wanted)s);

-- flush_statistics --
-- Lets other sessions see immediately how many rows this session has changed.
SELECT pg_stat_force_next_flush();
