-- Backup and restore.

-- hold_photo_files --
-- A backup holds this lock until it has copied the files.
SELECT name FROM gallery_locks WHERE name = 'photo files' FOR UPDATE;

-- export_snapshot --
SELECT pg_export_snapshot();

-- never_idle_too_long --
-- A backup's transactions stay open while it copies the files.
SELECT set_config('idle_in_transaction_session_timeout', '0', true), set_config('statement_timeout', '0', true);

-- read_one_state --
-- The transaction reads the state of one moment, whatever other sessions write.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- backup_facts --
SELECT
    current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    current_schema() AS schema_name,
    ARRAY(
        SELECT relname::text
        FROM pg_class
        WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind IN ('r', 'p') AND NOT relispartition
        ORDER BY relname
    ) AS tables;

-- backup_sequences --
-- The last number of each of the gallery's sequences. Read after the snapshot, so that no number is lower than an id in it.
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
-- The columns that a COPY can fill, of the table in the gallery's schema.
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
-- Indexes that no constraint needs. The restore does not rebuild the vector indexes, which pgface.search builds if it needs them.
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY (%(tables)s::text[]::regclass[])
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid);

-- set_sequence --
SELECT set_sequence(%(table)s, %(column)s, %(last)s);

-- galleries_beside --
-- Other schemas of this database that contain a gallery that this role may read.
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

-- set_restored_photo_store --
UPDATE gallery SET photo_store = %(location)s, former_photo_stores = %(former)s;

-- move_photo_paths --
-- Changes the paths of files that are in another folder now.
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

-- delete_notes_of_restored --
DELETE FROM deleted_photo_files d
WHERE EXISTS (SELECT FROM photos p WHERE p.filepath = d.filepath);

-- notes_beside --
-- Schemas of this database whose notes of deleted files this role may read and delete.
SELECT n.nspname::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'deleted_photo_files'
    AND c.relkind = 'r'
    AND has_schema_privilege(n.oid, 'USAGE')
    AND has_table_privilege(c.oid, 'SELECT')
    AND has_table_privilege(c.oid, 'DELETE');

-- delete_notes_of_gallery --
-- The notes that all crops of a gallery must be deleted. They end with the id of the gallery.
DELETE FROM {schema}.deleted_photo_files
WHERE right(filepath, length(%(ending)s)) = %(ending)s;

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
