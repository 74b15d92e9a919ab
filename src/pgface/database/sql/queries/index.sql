-- Vector indexes: building, checking and advising.

-- take_index --
-- The session that drops the vector index and builds it again holds this lock, as long as its server process lives. Returns no row
-- while another session holds it.
SELECT 'index' AS name WHERE take_index_lock();

-- give_index_back --
UPDATE gallery_locks
SET process = NULL, process_since = NULL
WHERE name = 'index' AND process = pg_backend_pid();

-- vector_index --
-- The definition of idx_embeddings_vector, whether it is valid, and whether it is the index that schema.sql creates.
SELECT
    pg_get_indexdef(i.indexrelid) AS definition,
    i.indisvalid AS valid,
    a.amname AS method,
    a.amname = 'hnsw' AND o.opcname = 'vector_cosine_ops' AND c.reloptions IS NULL
        AND i.indexprs IS NULL AND i.indpred IS NULL
        AS is_the_gallerys_own
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam
JOIN pg_opclass o ON o.oid = i.indclass[0]
WHERE i.indrelid = 'face_embeddings'::regclass
    AND c.relname = 'idx_embeddings_vector';

-- vector_index_wanted --
SELECT vector_index_wanted FROM gallery_search;

-- want_vector_index --
UPDATE gallery_search SET vector_index_wanted = %(wanted)s;

-- vector_indexes --
-- The vector indexes of the gallery's tables, and any other index that is not valid. Missing options have pgvector's defaults.
SELECT
    c.relname AS name,
    t.relname AS "table",
    a.amname AS method,
    o.opcname AS operator_class,
    coalesce(options.m, CASE a.amname WHEN 'hnsw' THEN 16 END) AS m,
    coalesce(options.ef_construction, CASE a.amname WHEN 'hnsw' THEN 64 END) AS ef_construction,
    coalesce(options.lists, CASE a.amname WHEN 'ivfflat' THEN 100 END) AS lists,
    pg_relation_size(c.oid) AS bytes,
    i.indisvalid AS valid,
    EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid) AS building,
    substring(obj_description(c.oid, 'pg_class') FROM '^pgface: built on (\d+) rows$')::bigint AS rows_at_build,
    pg_stat_get_numscans(c.oid) AS scans,
    pg_stat_get_lastscan(c.oid) AS last_scan
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_am a ON a.oid = c.relam
JOIN pg_opclass o ON o.oid = i.indclass[0]
CROSS JOIN LATERAL (
    SELECT
        max(option_value::integer) FILTER (WHERE option_name = 'm') AS m,
        max(option_value::integer) FILTER (WHERE option_name = 'ef_construction') AS ef_construction,
        max(option_value::integer) FILTER (WHERE option_name = 'lists') AS lists
    FROM pg_options_to_table(c.reloptions)
    WHERE option_name IN ('m', 'ef_construction', 'lists')
) options
WHERE i.indrelid IN ('face_embeddings'::regclass, 'user_templates'::regclass, 'template_bits'::regclass)
    AND (a.amname IN ('hnsw', 'ivfflat') OR NOT i.indisvalid)
ORDER BY t.relname, c.relname;

-- embeddings_table --
SELECT
    s.n_dead_tup AS dead_rows,
    s.n_mod_since_analyze AS changed_rows,
    pg_table_size(s.relid) AS bytes,
    greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum,
    greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze,
    quote_ident(s.schemaname) || '.' || quote_ident(s.relname) AS qualified_name
FROM pg_stat_all_tables s
WHERE s.relid = 'face_embeddings'::regclass;

-- search_efforts --
-- pgvector's settings in a new session, for SQL that orders by distance. The FROM clause loads pgvector's library, which
-- defines them.
SELECT
    current_setting('hnsw.ef_search')::integer AS ef_search,
    current_setting('ivfflat.probes')::integer AS probes
FROM (SELECT '[1]'::vector) AS loaded;

-- explain_nearest --
-- The plan of SQL that orders by distance, without running it. The plan is the same for every probe.
EXPLAIN (FORMAT JSON)
SELECT id FROM face_embeddings ORDER BY embedding <=> array_fill(1.0::real, ARRAY[512])::vector LIMIT 10;

-- nearest --
SELECT 1 - (embedding <=> %(embedding)s)
FROM face_embeddings
ORDER BY embedding <=> %(embedding)s
LIMIT %(count)s;

-- identified --
SELECT similarity FROM find_similar_faces(%(embedding)s, %(threshold)s, %(count)s);

-- identified_exactly --
SELECT similarity FROM find_similar_faces_exactly(%(embedding)s, %(threshold)s, %(count)s);

-- identified_among --
SELECT similarity FROM find_similar_faces_among(%(embedding)s, %(labels)s, %(threshold)s, %(count)s);

-- identified_among_exactly --
SELECT f.similarity
FROM find_similar_faces_exactly(%(embedding)s, %(threshold)s, NULL) f
JOIN users u ON u.id = f.user_id
WHERE u.labels @> %(labels)s
ORDER BY f.similarity DESC
LIMIT %(count)s;

-- users_with_labels --
SELECT id FROM users WHERE labels @> %(labels)s::text[];

-- mated_embeddings --
-- Random embeddings of users with more than one, and the similarity of the same user's nearest other embedding.
SELECT e.embedding, mate.similarity
FROM (SELECT * FROM face_embeddings WHERE random() < %(wanted)s::float / %(embeddings)s) e -- no TABLESAMPLE: see draw_probes
CROSS JOIN LATERAL (
    SELECT max(1 - (o.embedding <=> e.embedding)) AS similarity
    FROM face_embeddings o
    WHERE o.user_id = e.user_id
        AND o.id <> e.id
) mate
WHERE mate.similarity IS NOT NULL;

-- index_progress --
SELECT phase, lockers_done, lockers_total, current_locker_pid AS waits_for, blocks_done, blocks_total, tuples_done, tuples_total
FROM pg_stat_progress_create_index
WHERE pid = %(pid)s;

-- index_progress_here --
-- All index builds that are running on the gallery's tables.
SELECT phase, lockers_done, lockers_total, current_locker_pid AS waits_for, blocks_done, blocks_total, tuples_done, tuples_total
FROM pg_stat_progress_create_index
WHERE relid IN ('face_embeddings'::regclass, 'user_templates'::regclass, 'template_bits'::regclass);

-- build_memory --
-- The memory settings, in bytes.
SELECT
    pg_size_bytes(current_setting('maintenance_work_mem')) AS maintenance_work_mem,
    pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers;

-- set_build_memory --
SELECT set_config('maintenance_work_mem', %(kilobytes)s || 'kB', false);

-- prepare_to_build --
-- Removes the time limits of a build, and lets it end soon after its client.
SELECT set_config(name, CASE name WHEN 'client_connection_check_interval' THEN '5s' ELSE '0' END, false)
FROM pg_settings
WHERE name IN ('statement_timeout', 'transaction_timeout', 'client_connection_check_interval');

-- index_facts --
SELECT
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    pg_total_relation_size('user_templates') + pg_total_relation_size('template_bits') AS search_bytes;

-- relation_on_node --
-- On a cluster, the catalogs of the coordinator know neither the size nor the use of the gallery's tables and indexes.
SELECT r.* FROM gallery g CROSS JOIN LATERAL relation_here(g.only_row, %(table)s, %(index)s) r;

-- build_alone_if_faulty --
-- In pgvector before 0.8.2, parallel builds of HNSW indexes write beyond their memory.
SELECT set_config('max_parallel_maintenance_workers', '0', false)
FROM pg_extension
WHERE extname = 'vector'
    AND string_to_array(regexp_replace(extversion, '[^0-9.]', '', 'g'), '.')::integer[] < '{0,8,2}';
