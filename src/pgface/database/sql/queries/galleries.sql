-- Many galleries: the registry in the default gallery's schema.

-- create_gallery --
SELECT create_gallery(%(name)s, %(model)s::jsonb, %(authority)s);

-- register_gallery --
SELECT register_gallery(%(name)s, %(schema)s, %(url)s, %(authority)s);

-- rename_gallery --
SELECT rename_gallery(%(name)s, %(new_name)s, %(authority)s);

-- delete_gallery --
SELECT gallery_id, schema_name, database_url FROM delete_gallery(%(name)s, %(authority)s);

-- select_gallery_named --
SELECT name, schema_name, database_url, created_at FROM galleries WHERE name = %(name)s;

-- select_galleries --
SELECT name, schema_name, database_url, created_at FROM galleries WHERE name IS NOT NULL ORDER BY name;

-- select_empty_gallery --
SELECT name, schema_name, database_url, created_at FROM galleries WHERE name IS NULL ORDER BY id LIMIT 1;

-- select_registered --
-- The galleries that `pgface init` upgrades after the default gallery, those of one server together.
SELECT
    id, name, schema_name, database_url AS url,
    schema_version < (SELECT max(version) FROM pgface_migrations) AS is_old
FROM galleries
ORDER BY database_url NULLS FIRST, id;

-- note_upgrade --
UPDATE galleries SET schema_version = (SELECT max(version) FROM pgface_migrations) WHERE id = %(id)s;

-- gallery_sizes --
SELECT name, model_name, people, faces FROM gallery_sizes(%(names)s);

-- own_size --
SELECT
    (SELECT model_name FROM gallery) AS model_name,
    (SELECT count(*) FROM users WHERE is_person) AS people,
    (SELECT count(*) FROM face_embeddings) AS faces;

-- new_schema_name --
-- A name for a schema on another server, which no other gallery has.
SELECT 'pgface_' || replace(gen_random_uuid()::text, '-', '');
