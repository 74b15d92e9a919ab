-- Every statement that Python runs against a gallery. Tables are found through the search_path.

-- select_gallery --
SELECT
    id, model_name, dimension, detector_size, weights_sha256, verify_threshold, identify_threshold,
    coalesce((SELECT json_agg(a ORDER BY a.similarity) FROM confidence_anchors a), '[]') AS anchors
FROM gallery;

-- bind_gallery --
-- Only an unbound gallery is bound; no row comes back for one that is bound already.
UPDATE gallery
SET model_name = %(name)s,
    dimension = %(dimension)s,
    detector_size = %(detector_size)s,
    weights_sha256 = %(weights_sha256)s,
    verify_threshold = %(verify_threshold)s,
    identify_threshold = %(identify_threshold)s
WHERE model_name IS NULL
RETURNING id;

-- lock_enrollment --
-- Held by every enrollment until it commits, so that two of them cannot both find a face free, and so that
-- the clean-up knows that no photo file is under way. Galleries do not wait for one another.
SELECT name FROM gallery_locks WHERE name = 'enrollment' FOR UPDATE;

-- try_lock_enrollment --
-- No row comes back while another session holds it.
SELECT name FROM gallery_locks WHERE name = 'enrollment' FOR UPDATE SKIP LOCKED;

-- find_similar_faces --
SELECT user_id, user_name AS name, user_email AS email, similarity, embedding_id
FROM find_similar_faces(%(embedding)s, %(threshold)s, %(max_results)s);

-- verify_face --
-- Also by faces of theirs that are contested: they are theirs until an administrator says otherwise.
SELECT
    v.match OR coalesce(
        contested.similarity >= coalesce(%(threshold)s, (SELECT verify_threshold FROM gallery)), FALSE
    ) AS match,
    greatest(v.similarity, contested.similarity) AS similarity,
    v.user_name AS name,
    v.user_email AS email
FROM verify_face(%(embedding)s, %(user_id)s, %(threshold)s) v
CROSS JOIN LATERAL (
    SELECT max(1 - (embedding <=> %(embedding)s)) AS similarity
    FROM contested_faces
    WHERE user_id = %(user_id)s
) contested;

-- insert_user --
-- No row comes back if somebody else has added this e-mail.
INSERT INTO users (name, email, password)
VALUES (%(name)s, %(email)s, %(password)s)
ON CONFLICT (email) DO NOTHING
RETURNING id, name, email, created_at, 0 AS photos, 0 AS embeddings;

-- insert_users --
INSERT INTO users (name, email, password)
SELECT name, email, %(password)s
FROM unnest(%(names)s::text[], %(emails)s::text[]) AS given(name, email)
ON CONFLICT (email) DO NOTHING;

-- select_user_ids --
SELECT email, id
FROM users
WHERE lower(email) = ANY(%(spellings)s)
ORDER BY id DESC;

-- select_user --
SELECT u.id, u.name, u.email, u.created_at,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE u.id = %(id)s;

-- select_user_by_email --
SELECT u.id, u.name, u.email, u.created_at,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE lower(u.email) = ANY(%(spellings)s)
ORDER BY u.id
LIMIT 1;

-- select_users_by_name --
-- A folder has underscores where a name has spaces. A name is asked for in several spellings, because lower() knows
-- letters outside ASCII in some locales only.
SELECT u.id, u.name, u.email, count(*) OVER () AS namesakes
FROM users u
CROSS JOIN LATERAL regexp_replace(u.name, '[_[:space:]]+', ' ', 'g') AS plain (name)
WHERE plain.name = ANY(%(spellings)s) OR lower(plain.name) = ANY(%(spellings)s)
ORDER BY u.id
LIMIT %(limit)s;

-- select_users --
SELECT u.id, u.name, u.email, u.created_at,
    (SELECT count(*) FROM photos p WHERE p.user_id = u.id) AS photos,
    get_user_embeddings_count(u.id)
        + (SELECT count(*)::integer FROM contested_faces c WHERE c.user_id = u.id) AS embeddings
FROM users u
WHERE u.id > %(after)s
    AND (%(text)s::text IS NULL OR strpos(lower(u.name || ' ' || u.email), lower(%(text)s)) > 0)
ORDER BY u.id
LIMIT %(limit)s;

-- delete_user --
DELETE FROM users
WHERE id = %(id)s
RETURNING id;

-- insert_embedding --
INSERT INTO face_embeddings (user_id, embedding)
VALUES (%(user_id)s, %(embedding)s)
RETURNING id;

-- select_enrolled_hashes --
-- Which photos the users of a folder have already.
SELECT u.email, p.content_sha256
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE lower(u.email) = ANY(%(spellings)s)
    AND p.content_sha256 IS NOT NULL;

-- select_photo_by_content --
SELECT id
FROM photos
WHERE user_id = %(user_id)s
    AND content_sha256 = %(content_sha256)s;

-- select_photos --
SELECT p.id, p.user_id, u.email, p.filename, p.filepath, p.width, p.height, p.created_at
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE p.id > %(after)s
    AND (%(user_id)s::integer IS NULL OR p.user_id = %(user_id)s)
ORDER BY p.id
LIMIT %(limit)s;

-- select_embeddings --
SELECT fe.embedding, fe.id, u.id, u.email, p.id, p.filename, p.filepath,
    LEAST(fe.box_width, fe.box_height), fe.sharpness, fe.brightness, fe.yaw, fe.pitch, fe.roll
FROM face_embeddings fe
JOIN users u ON u.id = fe.user_id
LEFT JOIN photos p ON p.id = fe.photo_id
ORDER BY fe.user_id, fe.id;

-- move_photos --
-- Not those that the other user has already: they go with the user who is merged.
UPDATE photos p
SET user_id = %(into)s
WHERE p.user_id = %(id)s
    AND NOT EXISTS (SELECT FROM photos k WHERE k.user_id = %(into)s AND k.content_sha256 = p.content_sha256);

-- move_embeddings --
UPDATE face_embeddings fe
SET user_id = %(into)s
WHERE fe.user_id = %(id)s
    AND (fe.photo_id IS NULL OR EXISTS (SELECT FROM photos p WHERE p.id = fe.photo_id AND p.user_id = %(into)s));

-- move_contested_faces --
-- They are no longer contested: an administrator has said that both users are one person.
WITH moved AS (
    DELETE FROM contested_faces cf
    WHERE cf.user_id = %(id)s
        AND EXISTS (SELECT FROM photos p WHERE p.id = cf.photo_id AND p.user_id = %(into)s)
    RETURNING *
)
INSERT INTO face_embeddings (
    id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT id, %(into)s, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
FROM moved;

-- delete_photo_embeddings --
-- The specification only unlinks them; a person who has a photo erased means the face in it.
DELETE FROM face_embeddings
WHERE photo_id = %(id)s;

-- delete_photo --
DELETE FROM photos
WHERE id = %(id)s
RETURNING user_id;

-- allocate_photo_ids --
SELECT nextval(pg_get_serial_sequence('photos', 'id'))::integer
FROM generate_series(1, %(count)s);

-- copy_photos --
COPY photos (id, user_id, filename, filepath, width, height, content_sha256)
FROM STDIN (FORMAT BINARY);

-- copy_face_embeddings --
COPY face_embeddings (
    user_id, photo_id, embedding, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
FROM STDIN (FORMAT BINARY);

-- copy_embeddings --
COPY face_embeddings (user_id, embedding)
FROM STDIN (FORMAT BINARY);

-- existing_photo_files --
SELECT filepath
FROM photos
WHERE filepath = ANY(%(filepaths)s);

-- deleted_photo_files --
SELECT filepath
FROM deleted_photo_files
WHERE starts_with(filepath, %(prefix)s || '/')
ORDER BY deleted_at
LIMIT 10000;

-- forget_deleted_photo_files --
DELETE FROM deleted_photo_files
WHERE filepath = ANY(%(filepaths)s);

-- flush_statistics --
-- So that others see at once how many rows this session has changed.
SELECT pg_stat_force_next_flush();

-- lock_index_row --
-- For the moment in which the next statement looks who holds it.
SELECT name FROM gallery_locks WHERE name = 'index' FOR UPDATE;

-- take_index --
-- Held by the session that takes the vector index away and builds it again, for as long as its server process lives. No row
-- comes back while another one holds it.
UPDATE gallery_locks
SET process = pg_backend_pid(),
    process_since = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
WHERE name = 'index'
    AND (
        process = pg_backend_pid()
        OR NOT EXISTS (
            SELECT FROM pg_stat_activity a
            WHERE a.pid = process
                AND a.datname = current_database()
                AND coalesce(a.backend_start = process_since, TRUE)
        )
    )
RETURNING name;

-- give_index_back --
UPDATE gallery_locks
SET process = NULL, process_since = NULL
WHERE name = 'index' AND process = pg_backend_pid();

-- count_embeddings --
SELECT count(*) FROM face_embeddings;

-- vector_index --
-- The definition of the index of the specification's name, wherever the gallery lives, whether it is whole, and whether
-- it is as the first migration makes it.
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

-- status --
SELECT
    current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    (SELECT max(version) FROM pgface_migrations) AS schema_version,
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM users u WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id)) AS people_enrolled,
    (SELECT count(*) FROM photos) AS photos,
    (SELECT count(*) FROM face_embeddings) AS embeddings;

-- search_state --
-- With how many users wait for their templates, and how many rows of embeddings have changed since the server counts.
SELECT choice, method, first_effort, second_effort, certain_similarity,
    agreement, agreement_low, agreement_high, probes, scan_ms, embeddings, changes, chosen_at,
    (SELECT count(DISTINCT user_id) FROM stale_templates) AS stale_users,
    pg_stat_get_tuples_inserted('face_embeddings'::regclass)
        + pg_stat_get_tuples_updated('face_embeddings'::regclass)
        + pg_stat_get_tuples_deleted('face_embeddings'::regclass) AS changes_now,
    EXISTS (
        SELECT FROM gallery_locks l
        JOIN pg_stat_activity a ON a.pid = l.process AND coalesce(a.backend_start = l.process_since, TRUE)
        WHERE l.name = 'index'
            AND a.datname = current_database()
    ) AS fitting
FROM gallery_search;

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

-- count_templates --
SELECT count(*) FROM user_templates;

-- suspend_first_look --
-- Until an index has been fitted, every template is compared.
UPDATE gallery_search
SET first_effort = NULL
WHERE method <> 'exact';

-- vacuum_stale_templates --
-- Every search reads this table; the notes of a load that are done with would keep it waiting until autovacuum comes by.
VACUUM (SKIP_LOCKED) stale_templates;

-- vacuum_embeddings --
-- After a load of many: scans need not ask any more who may see each row, and the planner knows how many there are.
VACUUM (ANALYZE, SKIP_LOCKED) face_embeddings;

-- analyze_embeddings --
-- Before templates are made of many of them: autovacuum may not have come by yet.
ANALYZE users, face_embeddings, stale_templates;

-- analyze_templates --
ANALYZE user_templates, template_bits, stale_templates;

-- template_indexes --
-- The indexes of the first look that are there, and whether they are whole.
SELECT c.relname AS name, i.indisvalid AS valid
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid IN ('user_templates'::regclass, 'template_bits'::regclass)
    AND c.relname IN ('idx_user_templates_hnsw', 'idx_user_templates_ivfflat', 'idx_template_bits_hnsw');

-- sample_embeddings --
-- Embeddings drawn at random, each with the mean of all of its user's embeddings, and of the others of that user, which is
-- NULL for a user's only one.
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
-- The first look of find_similar_faces by itself. PostgreSQL would run the function once more to plan if it were not a subquery.
SELECT user_id, similarity
FROM compare_with_users(
    %(embedding)s, -1, 1, (SELECT users_by_index(%(embedding)s, %(method)s, %(effort)s, 3))
);

-- look_by_signs --
-- The second one.
SELECT user_id, similarity
FROM compare_with_users(
    %(embedding)s, -1, 1, (SELECT users_by_signs(%(embedding)s, 1 + %(effort)s, 22))
);

-- copy_out_embeddings --
COPY (SELECT user_id, embedding FROM face_embeddings) TO STDOUT (FORMAT BINARY);

-- lock_gallery_row --
-- Held until the transaction ends, so that thresholds are changed by one program at a time.
SELECT id, model_name, dimension, detector_size, weights_sha256, verify_threshold, identify_threshold
FROM gallery
FOR UPDATE;

-- set_verify_threshold --
UPDATE gallery SET verify_threshold = %(threshold)s;

-- set_identify_threshold --
UPDATE gallery SET identify_threshold = %(threshold)s;

-- insert_calibration --
INSERT INTO calibrations (
    kind, threshold, threshold_likely, threshold_low, threshold_high, threshold_before, target, rate, rate_low, rate_high, extrapolated,
    miss_rate, miss_rate_low, miss_rate_high, people_enrolled, tail_start, tail_share, tail_scale, tail_shape,
    source, people, photos, failures_to_enroll, mated_pairs, non_mated_pairs, model_name, detector_size, weights_sha256
)
VALUES (
    %(kind)s, %(threshold)s, %(threshold_likely)s, %(threshold_low)s, %(threshold_high)s, %(threshold_before)s, %(target)s, %(rate)s,
    %(rate_low)s, %(rate_high)s, %(extrapolated)s, %(miss_rate)s, %(miss_rate_low)s, %(miss_rate_high)s,
    %(people_enrolled)s, %(tail_start)s, %(tail_share)s, %(tail_scale)s, %(tail_shape)s, %(source)s, %(people)s,
    %(photos)s, %(failures_to_enroll)s, %(mated_pairs)s, %(non_mated_pairs)s, %(model_name)s, %(detector_size)s,
    %(weights_sha256)s
);

-- select_calibrations --
SELECT id, calibrated_at, kind, threshold, threshold_likely, threshold_low, threshold_high, threshold_before, target, rate, rate_low,
    rate_high, extrapolated, miss_rate, miss_rate_low, miss_rate_high, people_enrolled, tail_start, tail_share, tail_scale,
    tail_shape, source, people, photos, failures_to_enroll, mated_pairs, non_mated_pairs, model_name, detector_size,
    weights_sha256
FROM calibrations
ORDER BY id DESC;

-- delete_confidence_anchors --
DELETE FROM confidence_anchors;

-- insert_confidence_anchors --
INSERT INTO confidence_anchors (similarity, confidence, fmr, extrapolated)
SELECT * FROM unnest(
    %(similarities)s::float[], %(confidences)s::float[], %(fmrs)s::float[], %(extrapolated)s::boolean[]
);

-- select_confidence_anchors --
SELECT similarity, confidence, fmr, extrapolated
FROM confidence_anchors
ORDER BY similarity;

-- count_enrolled_people --
SELECT count(*) FROM users u WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id);

-- lock_tables_for_migration --
-- Others go on reading, and wait with what they would write.
LOCK TABLE users, photos, auth_tokens, face_embeddings IN SHARE ROW EXCLUSIVE MODE;

-- count_rows --
SELECT
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM photos) AS photos,
    (SELECT count(*) FROM auth_tokens) AS tokens,
    (SELECT count(*) FROM face_embeddings) AS embeddings;

-- select_migrated_users --
SELECT id, email, password FROM users;

-- select_migrated_photos --
SELECT id, user_id, filename, created_at, filepath FROM photos;

-- select_migrated_tokens --
SELECT id, token FROM auth_tokens;

-- copy_migrated_users --
COPY users (id, name, email, password, created_at) FROM STDIN;

-- copy_migrated_photos --
COPY photos (id, user_id, filename, filepath, width, height, created_at) FROM STDIN;

-- copy_migrated_tokens --
COPY auth_tokens (id, user_id, token, confidence, created_at, expires_at, is_active) FROM STDIN;

-- move_sequences_behind_ids --
-- No id is given twice. What PostgreSQL returns for a sequence that was never used is NULL, which greatest() passes over.
SELECT setval(sequence, greatest(pg_sequence_last_value(sequence), newest, 1))
FROM (
    VALUES
        (pg_get_serial_sequence('users', 'id')::regclass, (SELECT max(id) FROM users)),
        (pg_get_serial_sequence('photos', 'id')::regclass, (SELECT max(id) FROM photos)),
        (pg_get_serial_sequence('auth_tokens', 'id')::regclass, (SELECT max(id) FROM auth_tokens)),
        (pg_get_serial_sequence('face_embeddings', 'id')::regclass, (SELECT max(id) FROM face_embeddings))
) AS ids (sequence, newest)
WHERE newest > coalesce(pg_sequence_last_value(sequence), 0);

-- copy_migrated_embeddings --
COPY face_embeddings (user_id, photo_id, embedding)
FROM STDIN (FORMAT BINARY);

-- create_staged_embeddings --
CREATE TEMPORARY TABLE staged_embeddings (user_id INTEGER, photo_id INTEGER, embedding vector(512)) ON COMMIT DROP;

-- copy_staged_embeddings --
COPY staged_embeddings (user_id, photo_id, embedding)
FROM STDIN (FORMAT BINARY);

-- insert_staged_embeddings --
-- Those that their users do not have already.
INSERT INTO face_embeddings (user_id, photo_id, embedding)
SELECT s.user_id, s.photo_id, s.embedding
FROM staged_embeddings s
WHERE NOT EXISTS (
    SELECT FROM face_embeddings fe
    WHERE fe.user_id = s.user_id
        AND fe.embedding = s.embedding
);

-- count_embeddings_of_users --
SELECT user_id, count(*)
FROM face_embeddings
WHERE user_id = ANY(%(ids)s)
GROUP BY user_id;

-- embedding_is_stored --
SELECT EXISTS (
    SELECT FROM face_embeddings
    WHERE user_id = %(user_id)s
        AND embedding = %(embedding)s
);

-- nearest_users_exactly --
SELECT user_id, similarity
FROM find_similar_faces_exactly(%(embedding)s, -1, 10);

-- vacuum_gallery --
VACUUM (ANALYZE) users, photos, auth_tokens, face_embeddings;

-- read_one_state --
-- Everything that is read is as it was at one moment, whatever others write meanwhile.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- select_exported_people --
SELECT id, name, email
FROM users u
WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = u.id)
ORDER BY id;

-- copy_out_embeddings_in_order --
COPY (SELECT user_id, embedding FROM face_embeddings ORDER BY id) TO STDOUT (FORMAT BINARY);

-- database_identity --
-- The same for two connections only if they lead to the same database of the same server.
SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_control_system();

-- try_share_photo_files --
-- Held while files of erased rows are removed. No row comes back while a backup copies the files.
SELECT name FROM gallery_locks WHERE name = 'photo files' FOR SHARE SKIP LOCKED;

-- hold_photo_files --
-- Held by a backup until it has copied the files.
SELECT name FROM gallery_locks WHERE name = 'photo files' FOR UPDATE;

-- export_snapshot --
SELECT pg_export_snapshot();

-- never_idle_too_long --
-- A backup's transactions wait for as long as its files take.
SELECT set_config('idle_in_transaction_session_timeout', '0', true), set_config('statement_timeout', '0', true);

-- backup_facts --
SELECT
    current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    (SELECT max(version) FROM pgface_migrations) AS schema_version,
    current_schema() AS schema_name,
    ARRAY(
        SELECT relname::text
        FROM pg_class
        WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind IN ('r', 'p') AND NOT relispartition
        ORDER BY relname
    ) AS tables;

-- backup_sequences --
-- The last number that each of the gallery's sequences gave. They are read after the snapshot, and never run behind it.
SELECT given.name || '.' || a.attname AS name, s.last_value
FROM unnest(%(tables)s::text[]) AS given(name)
JOIN pg_attribute a ON a.attrelid = to_regclass(quote_ident(given.name)) AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_sequences s
    ON format('%%I.%%I', s.schemaname, s.sequencename) = pg_get_serial_sequence(quote_ident(given.name), a.attname)
WHERE s.last_value IS NOT NULL;

-- backup_vector_index --
SELECT a.amname AS method, o.opcname AS operators, coalesce(c.reloptions, '{}') AS options
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam
JOIN pg_opclass o ON o.oid = i.indclass[0]
WHERE i.indrelid = 'face_embeddings'::regclass
    AND c.relname = 'idx_embeddings_vector'
    AND i.indisvalid
    AND i.indexprs IS NULL
    AND i.indpred IS NULL;

-- backup_photo_paths --
SELECT DISTINCT filepath COLLATE "C" AS filepath
FROM photos
ORDER BY filepath COLLATE "C";

-- count_table_rows --
SELECT count(*) FROM {table};

-- copy_table_rows --
COPY {table} ({columns}) FROM STDIN;

-- table_columns --
-- Those that a COPY can fill, of the table in the gallery's schema.
SELECT attname::text
FROM pg_attribute
WHERE attrelid = to_regclass(format('%%I.%%I', current_schema(), %(table)s::text))
    AND attnum > 0
    AND NOT attisdropped
    AND attgenerated = '';

-- foreign_keys_of --
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint
WHERE contype = 'f' AND conrelid = ANY (%(tables)s::text[]::regclass[]);

-- indexes_of --
-- Those without which the table's rows would be the same, and not the vector index, which is built at the end if it is needed.
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY (%(tables)s::text[]::regclass[])
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid);

-- set_sequence --
SELECT setval(
    pg_get_serial_sequence(quote_ident(%(table)s), %(column)s)::regclass,
    greatest(%(last)s, (SELECT coalesce(max({column}), 1) FROM {table}))
);

-- galleries_beside --
-- Other schemas of this database that hold a gallery and may be read.
SELECT n.nspname::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id' AND a.atttypid = 'uuid'::regtype
WHERE c.relname = 'gallery'
    AND c.relkind = 'r'
    AND n.nspname <> current_schema()
    AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT');

-- gallery_id_of --
SELECT id FROM {schema}.gallery;

-- set_gallery_id --
UPDATE gallery SET id = %(id)s;

-- move_photo_paths --
-- The files of these rows are in another folder now.
UPDATE photos
SET filepath = %(into)s || substr(filepath, length(%(prefix)s) + 1)
WHERE starts_with(filepath, %(prefix)s || '/');

-- take_deletion_notes --
DELETE FROM deleted_photo_files
RETURNING filepath;

-- add_deletion_notes --
INSERT INTO deleted_photo_files (filepath)
SELECT unnest(%(filepaths)s::text[])
ON CONFLICT DO NOTHING;

-- forget_notes_of_restored --
DELETE FROM deleted_photo_files d
WHERE EXISTS (SELECT FROM photos p WHERE p.filepath = d.filepath);

-- note_all_stale --
INSERT INTO stale_templates (user_id)
SELECT DISTINCT user_id FROM face_embeddings;

-- delete_rows_of --
DELETE FROM {table};

-- disable_triggers --
ALTER TABLE {table} DISABLE TRIGGER USER;

-- enable_triggers --
ALTER TABLE {table} ENABLE TRIGGER USER;

-- lock_table_alone --
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;

-- has_rows --
SELECT EXISTS (SELECT FROM {table});

-- vacuum_table --
VACUUM (ANALYZE) {table};

-- vector_index_wanted --
SELECT vector_index_wanted FROM gallery_search;

-- want_vector_index --
UPDATE gallery_search SET vector_index_wanted = %(wanted)s;

-- vector_indexes --
-- The indexes of vectors that the gallery's tables have, and any other that is not whole. The options are pgvector's own
-- where none are given.
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
    (SELECT count(*) FROM face_embeddings) AS rows,
    s.n_dead_tup AS dead_rows,
    s.n_mod_since_analyze AS changed_rows,
    pg_table_size(s.relid) AS bytes,
    greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum,
    greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze,
    quote_ident(s.schemaname) || '.' || quote_ident(s.relname) AS qualified_name
FROM pg_stat_all_tables s
WHERE s.relid = 'face_embeddings'::regclass;

-- search_efforts --
-- The settings of SQL that orders by distance, as a new session has them. The first statement loads pgvector's library,
-- without which PostgreSQL does not know them.
SELECT
    current_setting('hnsw.ef_search')::integer AS ef_search,
    current_setting('ivfflat.probes')::integer AS probes
FROM (SELECT '[1]'::vector) AS loaded;

-- set_effort --
-- Of the method's setting, in this transaction.
SELECT set_config(CASE %(method)s WHEN 'ivfflat' THEN 'ivfflat.probes' ELSE 'hnsw.ef_search' END, %(effort)s, true);

-- explain_nearest --
-- The plan of SQL that orders by distance; it is not run. Any probe gives the same one.
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

-- mated_embeddings --
-- Embeddings drawn at random that have a further one of the same user, and how similar the nearest of those is.
SELECT e.embedding, mate.similarity
FROM face_embeddings e TABLESAMPLE BERNOULLI (least(100, 100.0 * %(wanted)s / %(embeddings)s))
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
-- The builds on the gallery's tables that are under way, whoever began them.
SELECT phase, lockers_done, lockers_total, current_locker_pid AS waits_for, blocks_done, blocks_total, tuples_done, tuples_total
FROM pg_stat_progress_create_index
WHERE relid IN ('face_embeddings'::regclass, 'user_templates'::regclass, 'template_bits'::regclass);

-- build_memory --
-- In bytes.
SELECT
    pg_size_bytes(current_setting('maintenance_work_mem')) AS maintenance_work_mem,
    pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers;

-- set_build_memory --
SELECT set_config('maintenance_work_mem', %(kilobytes)s || 'kB', false);

-- prepare_to_build --
-- A build takes as long as it takes, and ends soon after the program that asked for it.
SELECT set_config(name, CASE name WHEN 'client_connection_check_interval' THEN '5s' ELSE '0' END, false)
FROM pg_settings
WHERE name IN ('statement_timeout', 'transaction_timeout', 'client_connection_check_interval');

-- limit_waiting --
-- For the transactions of others: until this one ends, or the session does.
SELECT set_config('lock_timeout', %(time)s, %(in_transaction)s);

-- index_facts --
SELECT
    s.vector_index_wanted AS wanted,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    pg_total_relation_size('user_templates') + pg_total_relation_size('template_bits') AS search_bytes
FROM gallery_search s;

-- enter_schema --
-- Until the end of the transaction.
SELECT set_config('search_path', concat_ws(', ', quote_ident(%(schema)s), quote_ident(nspname)), true)
FROM pg_extension
JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'vector';

-- describe_schema --
-- Everything that the migrations make in the first schema of the search_path, in the order in which it depends on one
-- another as far as that goes: its kind and name; what it is, the first line being what cannot be replaced; and the
-- statement that makes it. Indexes of vectors vary. What is granted to PUBLIC, or taken from it, is as good as a part.
WITH home AS (
    SELECT
        n.oid,
        quote_ident(n.nspname) AS name,
        -- Functions are bound to their own schema, whatever that is called, and to pgvector's if that is another one.
        'search_path=' || quote_ident(n.nspname) || ', '
        || coalesce(nullif(quote_ident(v.nspname), quote_ident(n.nspname)) || ', ', '') || 'pg_temp' AS own_path
    FROM pg_namespace n, pg_extension e
    JOIN pg_namespace v ON v.oid = e.extnamespace
    WHERE n.nspname = current_schema()
        AND e.extname = 'vector'
),
tables AS (
    SELECT c.oid, c.relname::text, c.relacl, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class c
    JOIN home ON c.relnamespace = home.oid
    WHERE c.relkind = 'r'
),
columns AS (
    SELECT
        t.relname,
        a.attname,
        concat_ws(
            ' ', format_type(a.atttypid, a.atttypmod), 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
            CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
            CASE WHEN a.attnotnull THEN 'NOT NULL' END
        ) AS definition
    FROM tables t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
),
functions AS (
    SELECT p.*, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS signature
    FROM pg_proc p
    JOIN home ON p.pronamespace = home.oid
    WHERE NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    )
)
SELECT
    'table' AS kind, relname AS "table", relname AS name,
    concat_ws(
        ' ', CASE relpersistence WHEN 'u' THEN 'UNLOGGED' WHEN 't' THEN 'TEMPORARY' ELSE 'TABLE' END,
        CASE WHEN relrowsecurity THEN 'ROW LEVEL SECURITY' END,
        CASE WHEN relforcerowsecurity THEN 'FORCED' END
    ) AS definition,
    NULL AS again
FROM tables
UNION ALL
SELECT
    'column', relname, relname || '.' || attname, definition,
    format('ALTER TABLE %%I ADD COLUMN %%I %%s', relname, attname, definition)
FROM columns
UNION ALL
SELECT
    'constraint', t.relname, t.relname || '.' || o.conname,
    concat_ws(
        ' ', pg_get_constraintdef(o.oid),
        CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = o.oid AND g.tgenabled <> 'O') THEN '(DISABLED)' END,
        CASE WHEN EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = o.conindid AND NOT i.indisvalid) THEN '(INVALID)' END
    ),
    format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', t.relname, o.conname, pg_get_constraintdef(o.oid))
FROM tables t
JOIN pg_constraint o ON o.conrelid = t.oid
WHERE o.contype <> 'n'
UNION ALL
SELECT
    'index', t.relname, c.relname::text,
    concat_ws(' ', pg_get_indexdef(c.oid, 0, true), CASE WHEN NOT i.indisvalid THEN '(INVALID)' END),
    pg_get_indexdef(c.oid, 0, true)
FROM tables t
JOIN pg_index i ON i.indrelid = t.oid
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam
WHERE a.amname NOT IN ('hnsw', 'ivfflat')
    AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = c.oid)
UNION ALL
SELECT
    'function', NULL, f.signature,
    concat_ws(
        ' ', pg_get_function_result(f.oid), pg_get_function_arguments(f.oid), E'\n',
        l.lanname, f.provolatile, f.prosecdef, f.proisstrict, f.proparallel,
        (
            SELECT string_agg(CASE setting WHEN home.own_path THEN 'its own search_path' ELSE setting END, ' ' ORDER BY setting)
            FROM unnest(f.proconfig) AS setting
        ),
        f.prosrc,
        -- A column that is a constant gets a name when what PostgreSQL prints is run again, as pg_restore does.
        regexp_replace(pg_get_function_sqlbody(f.oid), '(::[a-z ]+) AS \w+', '\1', 'g')
    ),
    pg_get_functiondef(f.oid)
FROM home, (SELECT * FROM functions ORDER BY signature) f
JOIN pg_language l ON l.oid = f.prolang
UNION ALL
SELECT
    'trigger', t.relname, t.relname || '.' || g.tgname, g.tgenabled::text || ' ' || pg_get_triggerdef(g.oid, true),
    regexp_replace(pg_get_triggerdef(g.oid, true), '^CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER')
FROM tables t
JOIN pg_trigger g ON g.tgrelid = t.oid
WHERE NOT g.tgisinternal
UNION ALL
SELECT
    'right', t.relname, acl.privilege_type || ' on ' || t.relname || ' for everybody', 'GRANT',
    format('GRANT %%s ON %%I TO PUBLIC', acl.privilege_type, t.relname)
FROM tables t
CROSS JOIN LATERAL aclexplode(t.relacl) AS acl
WHERE acl.grantee = 0
UNION ALL
SELECT
    'right', NULL, f.signature || ' not for everybody', 'REVOKE',
    format('REVOKE EXECUTE ON FUNCTION %%s FROM PUBLIC', f.oid::regprocedure)
FROM functions f
WHERE NOT EXISTS (
    SELECT FROM aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS acl WHERE acl.grantee = 0
);

-- read_every_table --
-- Waits for whoever has one for themselves.
LOCK TABLE users, photos, auth_tokens, face_embeddings, gallery, user_templates, stale_templates IN ACCESS SHARE MODE;

-- who_locks_tables --
-- Of the gallery's, for themselves.
SELECT l.pid, c.relname, coalesce(a.application_name, '') AS application_name
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.mode = 'AccessExclusiveLock'
    AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND c.relnamespace = quote_ident(current_schema())::regnamespace
    AND c.relkind = 'r'
ORDER BY l.pid
LIMIT 1;

-- sequences_behind_ids --
-- The next id would be one that is there.
SELECT relname
FROM (
    VALUES
        ('users', pg_get_serial_sequence('users', 'id')::regclass, (SELECT max(id) FROM users)),
        ('photos', pg_get_serial_sequence('photos', 'id')::regclass, (SELECT max(id) FROM photos)),
        ('auth_tokens', pg_get_serial_sequence('auth_tokens', 'id')::regclass, (SELECT max(id) FROM auth_tokens)),
        (
            'face_embeddings', pg_get_serial_sequence('face_embeddings', 'id')::regclass,
            (SELECT max(id) FROM face_embeddings)
        )
) AS ids (relname, sequence, newest)
WHERE newest > coalesce(pg_sequence_last_value(sequence), 0);

-- rows_of_nobody --
-- Rows whose user is gone, which foreign keys do not let be unless somebody has switched them off.
SELECT
    (SELECT count(*) FROM face_embeddings r WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = r.user_id)) AS embeddings,
    (SELECT count(*) FROM photos r WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = r.user_id)) AS photos,
    (SELECT count(*) FROM auth_tokens r WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = r.user_id)) AS tokens;

-- count_users_not_searched --
-- Who have embeddings, and neither a template nor a note that they wait for one: triggers were off when they came.
SELECT count(*)
FROM users u
WHERE EXISTS (SELECT FROM face_embeddings e WHERE e.user_id = u.id)
    AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = u.id)
    AND NOT EXISTS (SELECT FROM stale_templates s WHERE s.user_id = u.id);

-- note_users_not_searched --
INSERT INTO stale_templates (user_id)
SELECT u.id
FROM users u
WHERE EXISTS (SELECT FROM face_embeddings e WHERE e.user_id = u.id)
    AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = u.id)
    AND NOT EXISTS (SELECT FROM stale_templates s WHERE s.user_id = u.id);

-- vector_extension --
-- Of this database, and of the server.
SELECT
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS installed,
    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector') AS available;

-- connection_limits --
-- How many connections the server, the database and the user have room for, whichever is least. Superusers are bound by
-- the first alone.
WITH limits (limited_by, room) AS (
    SELECT 'max_connections', sum(CASE name WHEN 'max_connections' THEN setting::integer ELSE -setting::integer END)
    FROM pg_settings
    WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
    UNION ALL
    SELECT 'the CONNECTION LIMIT of the database', d.datconnlimit
    FROM pg_database d, pg_roles r
    WHERE d.datname = current_database() AND d.datconnlimit >= 0 AND r.rolname = current_user AND NOT r.rolsuper
    UNION ALL
    SELECT 'the CONNECTION LIMIT of the user', rolconnlimit
    FROM pg_roles
    WHERE rolname = current_user AND rolconnlimit >= 0 AND NOT rolsuper
)
SELECT
    limited_by,
    room::integer AS room,
    (
        SELECT count(*)::integer
        FROM pg_stat_activity
        WHERE pid <> pg_backend_pid()
            AND CASE limited_by
                WHEN 'max_connections' THEN datid IS NOT NULL
                WHEN 'the CONNECTION LIMIT of the database' THEN datname = current_database()
                ELSE usename = current_user
            END
    ) AS used
FROM limits
ORDER BY room
LIMIT 1;

-- server_clock --
SELECT extract(epoch FROM clock_timestamp()) AS seconds;

-- embedding_storage --
-- Whether embeddings are to lie in their rows, and the bytes of those that do not: the table beside the table is empty
-- where all do. It tells nothing where somebody has added a column whose values may lie there too.
SELECT
    bool_and(a.attstorage = 'p') FILTER (WHERE a.attname = 'embedding') AS in_rows,
    CASE
        WHEN bool_or(a.attstorage <> 'p') FILTER (WHERE a.attname <> 'embedding') THEN 0
        ELSE (
            SELECT coalesce(sum(pg_relation_size(reltoastrelid)), 0)::bigint
            FROM pg_class
            WHERE oid = 'face_embeddings'::regclass AND reltoastrelid <> 0
        )
    END AS bytes_beside
FROM pg_attribute a
WHERE a.attrelid = 'face_embeddings'::regclass
    AND a.attnum > 0
    AND NOT a.attisdropped;

-- store_embeddings_in_rows --
ALTER TABLE face_embeddings ALTER COLUMN embedding SET STORAGE PLAIN;

-- rewrite_embeddings --
-- An UPDATE of each by itself would leave those beside the rows where they are, and take everybody for changed.
VACUUM (FULL, ANALYZE) face_embeddings;

-- count_photo_files --
-- Rows whose files belong to this photos folder, to another one, and to nothing that pgface writes.
SELECT
    count(*) FILTER (WHERE ours AND starts_with(filepath, %(prefix)s)) AS here,
    count(*) FILTER (WHERE ours AND NOT starts_with(filepath, %(prefix)s)) AS elsewhere,
    count(*) FILTER (WHERE NOT ours) AS foreign
FROM photos
CROSS JOIN LATERAL (
    SELECT filepath ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{32}/[0-9a-f]{2}/[0-9a-f]{32}\.jpg$' AS ours
) AS kind;

-- photo_files_in_order --
SELECT filepath
FROM photos
WHERE starts_with(filepath, %(prefix)s)
ORDER BY filepath COLLATE "C";

-- accounted_photo_files --
-- Those of rows, and those of erased rows that are noted to be removed.
SELECT filepath
FROM photos
WHERE filepath = ANY(%(filepaths)s)
UNION ALL
SELECT filepath
FROM deleted_photo_files
WHERE filepath = ANY(%(filepaths)s);

-- users_with_readable_passwords --
-- Whose password is not the marker of none (!, *), nor a hash: argon2, bcrypt and crypt ($...$), werkzeug's
-- (method:...$salt$hash or method$salt$hash), Django's, LDAP's ({...}).
SELECT id
FROM users
WHERE password !~ '^([!*].*|\$[0-9a-z-]+\$.+|[a-z0-9:_]+\$[^$]+\$.+|\{[A-Z0-9-]+\}.+)$'
ORDER BY id;

-- find_password --
SELECT user_id, blank FROM find_password(%(spellings)s);

-- confirm_password --
SELECT confirm_password(%(id)s, %(proofs)s);

-- set_password --
SELECT set_password(%(id)s, %(password)s, %(proof)s, %(authority)s);

-- set_migrated_password --
UPDATE users SET password = %(password)s WHERE id = %(id)s;

-- count_attempt --
-- Counts it as failed before it is made, so that many at once are counted as many; no row comes back where the subject has to
-- wait. After the free ones each failure doubles the wait, up to the longest; a subject that has not failed for so long begins anew.
INSERT INTO login_attempts AS a (subject, method, failures, last_failure)
VALUES (%(subject)s, %(method)s, 1, clock_timestamp())
ON CONFLICT (subject, method) DO UPDATE
SET failures = CASE
        WHEN a.last_failure < clock_timestamp() - make_interval(secs => %(forgotten)s) THEN 1
        ELSE a.failures + 1
    END,
    last_failure = clock_timestamp()
WHERE a.failures < %(free)s
    OR a.last_failure + make_interval(secs => least(%(longest)s, 2.0 ^ least(a.failures - %(free)s, 30)))
        <= clock_timestamp()
RETURNING failures;

-- seconds_to_wait --
SELECT ceil(extract(epoch FROM
    a.last_failure + make_interval(secs => least(%(longest)s, 2.0 ^ least(a.failures - %(free)s, 30))) - clock_timestamp()
))::integer
FROM login_attempts a
WHERE a.subject = %(subject)s
    AND a.method = %(method)s;

-- forget_attempts --
DELETE FROM login_attempts WHERE subject = %(subject)s AND method = %(method)s;

-- take_back_attempt --
UPDATE login_attempts SET failures = greatest(failures - 1, 0) WHERE subject = %(subject)s AND method = %(method)s;

-- prune_attempts --
DELETE FROM login_attempts WHERE last_failure < clock_timestamp() - make_interval(secs => %(forgotten)s);

-- begin_session --
SELECT begin_session(
    %(user_id)s, %(token)s, %(confidence)s::real, %(password_given)s, %(proof)s, %(seconds)s::float
);

-- find_session --
SELECT id, user_id, name, email, confidence, password_given, created_at, expires_at
FROM find_session(%(token)s);

-- select_tokens_of_user --
SELECT t.id, t.confidence, t.password_given IS TRUE AS password_given, t.created_at, t.expires_at
FROM auth_tokens t
WHERE t.user_id = %(user_id)s
    AND t.is_active
    AND (t.expires_at IS NULL OR t.expires_at > LOCALTIMESTAMP)
ORDER BY t.id;

-- end_sessions --
-- Whose they were.
SELECT end_sessions(%(user_id)s, %(id)s, %(token)s, %(but)s);

-- prune_tokens --
DELETE FROM auth_tokens
WHERE NOT is_active
    OR is_active IS NULL
    OR expires_at <= LOCALTIMESTAMP;

-- record_event --
SELECT record_event(
    %(event)s, %(refused)s, %(actor)s, %(user_id)s, %(key_id)s, %(address)s::inet, %(similarity)s::real
);

-- select_audit --
-- The newest first.
SELECT id, at, event, outcome, reason, actor, user_id, key_id, host(address) AS address, similarity, count, last_at
FROM audit_log
WHERE (%(user_id)s::integer IS NULL OR user_id = %(user_id)s)
    AND (%(users)s::integer[] IS NULL OR user_id = ANY (%(users)s))
    AND (%(event)s::text IS NULL OR event = %(event)s)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
    AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s;

-- select_addresses_of_tokens --
-- Where each login of a user began. Its row in the log is written in the same transaction, so it follows within moments.
SELECT t.id, host(a.address)
FROM auth_tokens t
CROSS JOIN LATERAL (
    SELECT address
    FROM audit_log
    WHERE user_id = t.user_id
        AND at >= t.created_at::timestamptz
        AND at < t.created_at::timestamptz + interval '10 seconds'
        AND event IN ('login by password', 'login by face')
        AND outcome = 'done'
    ORDER BY at
    LIMIT 1
) a
WHERE t.user_id = %(user_id)s
    AND t.is_active
    AND a.address IS NOT NULL;

-- select_users_by_text --
-- Whose name or e-mail holds a text.
SELECT id
FROM users
WHERE strpos(lower(name || ' ' || email), lower(%(text)s)) > 0
ORDER BY id
LIMIT %(limit)s;

-- select_names --
-- Of users and of keys, by their ids.
SELECT 'user' AS kind, id, name FROM users WHERE id = ANY (%(users)s)
UNION ALL
SELECT 'key', id, name FROM api_keys WHERE id = ANY (%(keys)s);

-- prune_audit --
SELECT prune_audit_log(%(days)s);

-- create_key --
SELECT id, name, scopes, created_at, last_used_at, revoked_at
FROM create_api_key(%(name)s, %(key)s, %(scopes)s, %(authority)s);

-- find_key --
SELECT id, name, scopes, created_at, last_used_at, revoked_at
FROM find_api_key(%(key)s);

-- select_keys --
SELECT id, name, scopes, created_at, last_used_at, revoked_at
FROM api_keys
ORDER BY id;

-- revoke_key --
SELECT revoke_api_key(%(id)s, %(authority)s);

-- keep_secret --
-- The first that is kept stays.
INSERT INTO service_secrets (name, secret) VALUES (%(name)s, %(secret)s) ON CONFLICT DO NOTHING;

-- select_secret --
SELECT secret FROM service_secrets WHERE name = %(name)s;

-- add_challenge --
INSERT INTO login_challenges (id, ends_at, state)
VALUES (%(id)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(state)s);

-- take_challenge --
-- One request has it alone. It comes back with what was seen, or not at all.
DELETE FROM login_challenges
WHERE id = %(id)s AND ends_at > clock_timestamp()
RETURNING state, ends_at, hints;

-- put_challenge_back --
INSERT INTO login_challenges (id, ends_at, hints, state)
VALUES (%(id)s, %(ends_at)s, %(hints)s, %(state)s);

-- count_hint --
-- No row comes back where the challenge is not there, or has had all its hints.
UPDATE login_challenges
SET hints = hints + 1
WHERE id = %(id)s AND ends_at > clock_timestamp() AND hints < %(most)s
RETURNING hints;

-- prune_challenges --
DELETE FROM login_challenges WHERE ends_at < clock_timestamp();

-- known_frame_digests --
SELECT DISTINCT digest
FROM used_frames f, unnest(f.digests) AS digest
WHERE f.digests && %(digests)s::bigint[]
    AND digest = ANY (%(digests)s::bigint[]);

-- lock_user --
SELECT id FROM users WHERE id = %(id)s FOR NO KEY UPDATE;

-- remember_frames --
INSERT INTO used_frames (user_id, digests)
SELECT %(user_id)s, %(digests)s::bigint[]
WHERE EXISTS (SELECT FROM face_embeddings fe WHERE fe.user_id = %(user_id)s)
    OR EXISTS (SELECT FROM contested_faces c WHERE c.user_id = %(user_id)s);

-- move_used_frames --
UPDATE used_frames SET user_id = %(into)s WHERE user_id = %(id)s;

-- embeddings_of_migrated_users --
SELECT user_id, embedding
FROM face_embeddings
WHERE user_id = ANY(%(ids)s);

-- set_migrated_filepath --
UPDATE photos
SET filepath = %(filepath)s
WHERE id = %(id)s;

-- add_administrator --
INSERT INTO administrators (user_id) VALUES (%(user_id)s) ON CONFLICT DO NOTHING RETURNING user_id;

-- remove_administrator --
DELETE FROM administrators WHERE user_id = %(user_id)s RETURNING user_id;

-- is_administrator --
SELECT EXISTS (SELECT FROM administrators WHERE user_id = %(user_id)s);

-- select_administrators --
SELECT u.id, u.name, u.email, a.since
FROM administrators a
JOIN users u ON u.id = a.user_id
ORDER BY u.id;

-- begin_idempotent_request --
-- A row comes back to who may go on: of a new key, or of one whose process died on it.
INSERT INTO idempotent_requests (caller, key, request)
VALUES (%(caller)s, %(key)s, %(request)s)
ON CONFLICT (caller, key) DO UPDATE SET started_at = clock_timestamp()
WHERE idempotent_requests.status IS NULL
    AND idempotent_requests.request = EXCLUDED.request
    AND idempotent_requests.started_at < clock_timestamp() - make_interval(secs => %(given_up_after)s)
RETURNING started_at;

-- select_idempotent_request --
SELECT request, status, answer
FROM idempotent_requests
WHERE caller = %(caller)s AND key = %(key)s;

-- answer_idempotent_request --
UPDATE idempotent_requests
SET status = %(status)s, answer = %(answer)s, user_id = %(user_id)s, photo_id = %(photo_id)s
WHERE caller = %(caller)s AND key = %(key)s AND started_at = %(started_at)s AND status IS NULL;

-- give_up_idempotent_request --
DELETE FROM idempotent_requests
WHERE caller = %(caller)s AND key = %(key)s AND started_at = %(started_at)s AND status IS NULL;

-- forget_idempotent_requests --
DELETE FROM idempotent_requests WHERE started_at < clock_timestamp() - make_interval(secs => %(kept)s);

-- select_photo --
SELECT p.id, p.user_id, u.email, p.filename, p.filepath, p.width, p.height, p.created_at
FROM photos p
JOIN users u ON u.id = p.user_id
WHERE p.id = %(id)s;

-- gallery_size --
-- Counted, unless the server's own estimate says that there are millions: then that is near enough.
WITH estimated AS (
    SELECT
        (SELECT reltuples::bigint FROM pg_class WHERE oid = 'users'::regclass) AS users,
        (SELECT reltuples::bigint FROM pg_class WHERE oid = 'face_embeddings'::regclass) AS embeddings
)
SELECT
    CASE WHEN users < 1000000 THEN (SELECT count(*) FROM users) ELSE users END,
    CASE WHEN embeddings < 1000000 THEN (SELECT count(*) FROM face_embeddings) ELSE embeddings END
FROM estimated;

-- delete_embeddings_of_user --
DELETE FROM face_embeddings
WHERE user_id = %(id)s;

-- delete_photos_of_user --
DELETE FROM photos
WHERE user_id = %(id)s;

-- select_embeddings_of_user --
-- All that is kept of them, for their owner, who does not learn which of them are contested.
SELECT id, photo_id, created_at, updated_at, detection_score, box_x, box_y, box_width, box_height, sharpness,
    brightness, yaw, pitch, roll, embedding
FROM (
    SELECT id, photo_id, created_at, updated_at, detection_score, box_x, box_y, box_width, box_height, sharpness,
        brightness, yaw, pitch, roll, embedding
    FROM face_embeddings
    WHERE user_id = %(user_id)s
    UNION ALL
    SELECT id, photo_id, created_at, updated_at, detection_score, box_x, box_y, box_width, box_height, sharpness,
        brightness, yaw, pitch, roll, embedding
    FROM contested_faces
    WHERE user_id = %(user_id)s
) AS own
WHERE id > %(after)s
ORDER BY id
LIMIT %(limit)s;

-- select_faces_of_users --
-- A page of the gallery as faces: each user with their first photo.
SELECT u.id, u.name, u.email, p.photos, p.photo_id
FROM (
    SELECT id, name, email
    FROM users
    WHERE id > %(after)s
        AND (%(text)s::text IS NULL OR strpos(lower(name || ' ' || email), lower(%(text)s)) > 0)
    ORDER BY id
    LIMIT %(limit)s
) u
CROSS JOIN LATERAL (
    SELECT count(*) AS photos, min(id) AS photo_id
    FROM photos
    WHERE user_id = u.id
) p
ORDER BY u.id;

-- select_measured_photos --
-- A user's photos with what enrollment measured of the face in each.
SELECT p.id, p.filename, p.created_at, fe.id IS NOT NULL AS embedded,
    LEAST(fe.box_width, fe.box_height) AS face_size, fe.sharpness, fe.brightness, fe.yaw, fe.pitch, fe.roll
FROM photos p
LEFT JOIN LATERAL (
    SELECT id, box_width, box_height, sharpness, brightness, yaw, pitch, roll
    FROM face_embeddings
    WHERE photo_id = p.id
    ORDER BY id
    LIMIT 1
) fe ON true
WHERE p.user_id = %(user_id)s
    AND p.id > %(after)s
ORDER BY p.id
LIMIT %(limit)s;

-- has_password --
-- Whether a user can log in by a password.
SELECT has_password(%(id)s);

-- password_kinds --
SELECT password_kinds(%(but)s);

-- enter_gallery --
-- Names lead to the gallery's schema, then to pgvector's, and times without a zone are the server's, whichever zone this
-- client asked for. That hides the one of postgresql.conf (`source`): then it is log_timezone's, which no client can
-- change, and which is the same where nobody has changed one of the two. ALTER DATABASE ... SET TimeZone is above both.
SELECT
    set_config('search_path', concat_ws(', ', quote_ident(%(schema)s), quote_ident(n.nspname)), %(for_transaction)s),
    quote_literal(
        set_config(
            'TimeZone',
            coalesce(
                (
                    SELECT substring(setting FROM '=(.*)')
                    FROM pg_db_role_setting, unnest(setconfig) AS setting
                    WHERE setrole = 0
                        AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                        AND setting ILIKE 'timezone=%%'
                    ORDER BY setdatabase DESC
                    LIMIT 1
                ),
                (
                    SELECT reset_val
                    FROM pg_settings
                    WHERE name = 'TimeZone' AND source NOT IN ('client', 'user', 'database user')
                ),
                current_setting('log_timezone')
            ),
            %(for_transaction)s
        )
    )
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'vector';

-- find_device --
-- Which of these devices is known for the account, if any.
SELECT d.token
FROM known_devices d
JOIN users u ON u.id = d.user_id
WHERE d.token = ANY (%(tokens)s)
    AND lower(u.email) = ANY (%(spellings)s)
LIMIT 1;

-- forget_devices --
DELETE FROM known_devices WHERE user_id = %(user_id)s AND token = ANY (%(tokens)s) RETURNING token;

-- remember_device --
INSERT INTO known_devices (user_id, token) VALUES (%(user_id)s, %(token)s);

-- forget_older_devices --
-- All but the newest.
DELETE FROM known_devices
WHERE user_id = %(user_id)s
    AND id NOT IN (SELECT id FROM known_devices WHERE user_id = %(user_id)s ORDER BY id DESC LIMIT %(most)s);

-- forget_other_devices --
DELETE FROM known_devices WHERE user_id = %(user_id)s AND token <> ALL (%(tokens)s);

-- prune_devices --
DELETE FROM known_devices WHERE used_at < now() - make_interval(days => %(days)s);

-- copy_contested_faces --
COPY contested_faces (
    user_id, photo_id, embedding, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
FROM STDIN (FORMAT BINARY);

-- select_contested_faces --
-- Of a user, or all, with the photo that each is in.
SELECT cf.photo_id, cf.user_id, u.name, u.email, p.filename, cf.created_at, cf.embedding
FROM contested_faces cf
JOIN users u ON u.id = cf.user_id
JOIN photos p ON p.id = cf.photo_id
WHERE (%(user_id)s::integer IS NULL OR cf.user_id = %(user_id)s)
    AND (%(photo_id)s::integer IS NULL OR cf.photo_id = %(photo_id)s)
    AND cf.photo_id > %(after)s
ORDER BY cf.photo_id
LIMIT %(limit)s;

-- accept_contested_face --
WITH accepted AS (
    DELETE FROM contested_faces WHERE photo_id = %(photo_id)s RETURNING *
)
INSERT INTO face_embeddings (
    id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
)
SELECT id, user_id, photo_id, embedding, created_at, detection_score,
    box_x, box_y, box_width, box_height, sharpness, brightness, yaw, pitch, roll
FROM accepted
RETURNING user_id;

-- count_photos_of_user --
SELECT count(*) FROM photos WHERE user_id = %(user_id)s;

-- is_contested --
SELECT EXISTS (SELECT FROM contested_faces WHERE photo_id = %(photo_id)s);

-- count_contested_faces --
SELECT count(*) FROM contested_faces;

-- build_alone_if_faulty --
-- Parallel builds of HNSW indexes write beyond their memory in pgvector before 0.8.2.
SELECT set_config('max_parallel_maintenance_workers', '0', false)
FROM pg_extension
WHERE extname = 'vector'
    AND string_to_array(regexp_replace(extversion, '[^0-9.]', '', 'g'), '.')::integer[] < '{0,8,2}';
