-- Many galleries in one service. Each is a schema. The default gallery has the registry of the others. The registry of every
-- other gallery stays empty.
CREATE TABLE IF NOT EXISTS galleries (
    id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- NULL for the empty gallery. The service looks there for the callers of a gallery that does not exist, so that they get
    -- the same answers as callers without rights.
    name TEXT UNIQUE CHECK (name ~ '^[A-Za-z0-9_.-]{1,255}$' AND name NOT IN ('.', '..')),
    schema_name TEXT NOT NULL,
    -- The URL of another server. NULL for this database.
    database_url TEXT,
    -- A start upgrades the galleries of this database whose version is older than the default gallery's, without opening the
    -- others.
    schema_version INTEGER NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX IF NOT EXISTS idx_galleries_schema ON galleries(coalesce(database_url, ''), schema_name);

-- The statements that make a gallery, in their order. `pgface init` writes them, and create_gallery() runs them. The names of the
-- functions that they make end with @suffix@.
CREATE TABLE IF NOT EXISTS gallery_script (
    position INTEGER PRIMARY KEY,
    statement TEXT NOT NULL
);

-- Keys and administrators of the default gallery may have access to all galleries.
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS all_galleries BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE administrators ADD COLUMN IF NOT EXISTS all_galleries BOOLEAN NOT NULL DEFAULT FALSE;

-- create_gallery() replaces this function in the schema of the new gallery. There it asks the default gallery.
CREATE OR REPLACE FUNCTION is_operator(secret TEXT)
RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM auth_tokens t
        JOIN administrators a ON a.user_id = t.user_id
        WHERE t.token = secret
            AND t.is_active
            AND t.password_given
            AND a.all_galleries
            AND (t.expires_at IS NULL OR t.expires_at > LOCALTIMESTAMP)
    ) OR EXISTS (
        SELECT FROM api_keys k
        WHERE k.key = secret AND k.revoked_at IS NULL AND k.all_galleries AND 'admin' = ANY (k.scopes)
    );
END;
$$;

COMMENT ON FUNCTION is_operator(text) IS
    'Internal: whether the secret is the SHA-256 of a token or a key that may administer all galleries.';

-- An operator has the authority of an administrator.
DO $$
DECLARE
    definition TEXT := pg_get_functiondef('require_authority'::regproc);
BEGIN
    IF definition !~ 'is_operator' THEN
        EXECUTE replace(definition, 'IF NOT is_gallery_owner()', 'IF NOT is_gallery_owner() AND NOT is_operator(secret)');
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION require_operator(secret TEXT)
RETURNS VOID
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT is_gallery_owner() AND NOT is_operator(secret) THEN
        RAISE EXCEPTION 'only an administrator of all galleries, or the owner, may do this'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END;
$$;

COMMENT ON FUNCTION require_operator(text) IS
    'Internal: raises an error unless the secret may administer all galleries. The owner needs no secret.';

-- The objects are found through pg_depend. It has an index by schema, and the catalogs themselves do not: with a thousand
-- galleries, they have a million rows.
CREATE OR REPLACE FUNCTION copy_gallery_rights(target TEXT, suffix TEXT DEFAULT '')
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    home CONSTANT OID := quote_ident(current_schema())::regnamespace;
    own CONSTANT TEXT[] := string_to_array(
        'galleries galleries_id_seq gallery_script create_gallery register_gallery rename_gallery delete_gallery gallery_sizes '
        'open_all_galleries', ' '
    );
    relations CONSTANT OID[] := ARRAY(
        SELECT d.objid FROM pg_depend d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.classid = 'pg_class'::regclass
    );
    routines CONSTANT OID[] := ARRAY(
        SELECT d.objid FROM pg_depend d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.classid = 'pg_proc'::regclass
            -- In the schema public, pgvector's functions stand beside the gallery's.
            AND NOT EXISTS (
                SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = d.objid AND e.deptype = 'e'
            )
    );
    given RECORD;
BEGIN
    FOR given IN
        SELECT format('GRANT %s ON SCHEMA %I TO %s', acl.privilege_type, target, grantee_name(acl.grantee)) AS statement
        FROM pg_namespace n, aclexplode(n.nspacl) AS acl
        WHERE n.oid = home AND acl.grantee <> n.nspowner
        UNION ALL
        SELECT format(
            'GRANT %s ON %s %s TO %s', acl.privilege_type, kind.name, string_agg(format('%I.%I', target, c.relname), ', '),
            grantee_name(acl.grantee)
        )
        FROM pg_class c
        CROSS JOIN aclexplode(c.relacl) AS acl
        CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS name) kind
        WHERE c.oid = ANY (relations) AND c.relkind IN ('r', 'p', 'v', 'S') AND acl.grantee <> c.relowner
            AND c.relname <> ALL (own)
        GROUP BY acl.privilege_type, kind.name, acl.grantee
        UNION ALL
        SELECT format(
            'GRANT %s (%s) ON TABLE %I.%I TO %s', acl.privilege_type, string_agg(quote_ident(a.attname), ', '), target, c.relname,
            grantee_name(acl.grantee)
        )
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) AS acl
        WHERE c.oid = ANY (relations) AND acl.grantee <> c.relowner AND c.relname <> ALL (own) AND NOT a.attisdropped
        GROUP BY acl.privilege_type, c.relname, acl.grantee
        UNION ALL
        SELECT format(
            'GRANT EXECUTE ON ROUTINE %s TO %s',
            string_agg(
                format('%I.%I(%s)', target, p.proname || suffix, pg_get_function_identity_arguments(p.oid)), ', '
            ),
            grantee_name(acl.grantee)
        )
        FROM pg_proc p, aclexplode(p.proacl) AS acl
        WHERE p.oid = ANY (routines) AND acl.grantee <> p.proowner AND p.proname <> ALL (own)
        GROUP BY acl.grantee
    LOOP
        EXECUTE given.statement;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION copy_gallery_rights(text, text) IS
    'Internal: gives every role the rights in another gallery that it has in this one, except for the registry. The names of the '
    'other gallery''s functions end with the suffix.';

CREATE OR REPLACE FUNCTION remove_suffix(target TEXT, suffix TEXT)
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    routine RECORD;
BEGIN
    FOR routine IN
        SELECT p.oid::regprocedure AS signature, left(p.proname, -length(suffix)) AS final_name
        FROM pg_proc p
        WHERE p.oid = ANY (ARRAY(
            SELECT d.objid FROM pg_depend d
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = quote_ident(target)::regnamespace
                AND d.classid = 'pg_proc'::regclass
        ))
    LOOP
        EXECUTE format('ALTER ROUTINE %s RENAME TO %I', routine.signature, routine.final_name);
    END LOOP;
END;
$$;

COMMENT ON FUNCTION remove_suffix(text, text) IS 'Internal: gives the functions of a new gallery their names.';

CREATE OR REPLACE FUNCTION grantee_name(role OID)
RETURNS TEXT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END;
END;
$$;

COMMENT ON FUNCTION grantee_name(oid) IS 'Internal: the name of a role in GRANT.';

CREATE OR REPLACE FUNCTION require_registry()
RETURNS VOID
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM gallery_script) THEN
        RAISE EXCEPTION 'run `pgface init` first. It writes the statements that make a gallery'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END;
$$;

COMMENT ON FUNCTION require_registry() IS 'Internal: refuses to make a gallery before `pgface init` has run here.';

CREATE OR REPLACE FUNCTION create_gallery(gallery_name TEXT, model JSONB, authority TEXT)
RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
SET client_min_messages = warning
-- `pgface init` has checked them. PostgreSQL would keep each in the memory of this session.
SET check_function_bodies = off
AS $$
DECLARE
    home CONSTANT TEXT := current_schema();
    -- Random, because the status of a gallery shows it. A number would reveal how many galleries there are.
    made CONSTANT TEXT := 'pgface_' || replace(gen_random_uuid()::text, '-', '');
    -- To find a function by its name, PostgreSQL reads the functions of this name in all schemas, again after each change. So
    -- the new functions have names that no other gallery has, until all is done.
    suffix CONSTANT TEXT := '_' || right(made, 16);
    script TEXT[];
    statement TEXT;
BEGIN
    PERFORM require_operator(authority);
    PERFORM require_registry();
    IF gallery_name IS NOT NULL AND NOT EXISTS (SELECT FROM galleries WHERE name IS NULL) THEN
        PERFORM create_gallery(NULL, model, authority);
    END IF;
    INSERT INTO galleries (name, schema_name, schema_version)
    VALUES (gallery_name, made, (SELECT max(m.version) FROM pgface_migrations m))
    ON CONFLICT (name) DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(s.statement ORDER BY s.position) INTO script FROM gallery_script s;
    EXECUTE format('CREATE SCHEMA %I', made);
    PERFORM set_config('search_path', quote_ident(made), true);
    FOREACH statement IN ARRAY script LOOP
        EXECUTE replace(statement, '@suffix@', suffix);
    END LOOP;
    EXECUTE format('SELECT %I.copy_gallery_rights(%L, %L)', home, made, suffix);
    EXECUTE format('SELECT %I.remove_suffix(%L, %L)', home, made, suffix);
    IF model IS NOT NULL THEN
        -- A new row, and not an UPDATE: the plans of a trigger's statements would stay in the memory of this session, for each
        -- gallery, and PostgreSQL reads all of them after each change of a table.
        EXECUTE format('DELETE FROM %I.gallery', made);
        EXECUTE format(
            'INSERT INTO %I.gallery (model_name, dimension, alignment_size, weights_sha256, verify_threshold, '
            'identify_threshold, photo_store) SELECT m.model_name, m.dimension, m.alignment_size, m.weights_sha256, '
            'm.verify_threshold, m.identify_threshold, (SELECT g.photo_store FROM %I.gallery g) '
            'FROM jsonb_populate_record(NULL::%I.gallery, $1) m',
            made, home, made
        ) USING model;
        EXECUTE format('INSERT INTO %I.gallery_events (kind) VALUES (''model_changed'')', made);
        EXECUTE format(
            'INSERT INTO %I.confidence_anchors SELECT * FROM jsonb_populate_recordset(NULL::%I.confidence_anchors, $1)',
            made, made
        ) USING model -> 'anchors';
    ELSE
        EXECUTE format('UPDATE %I.gallery SET photo_store = (SELECT g.photo_store FROM %I.gallery g)', made, home);
    END IF;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %I.is_operator(secret TEXT) RETURNS BOOLEAN LANGUAGE plpgsql STABLE SECURITY DEFINER '
        'SET search_path TO %I, pg_temp AS $body$ BEGIN RETURN %I.is_operator(secret); END $body$',
        made, made, home
    );
    RETURN made;
END;
$$;

COMMENT ON FUNCTION create_gallery(text, jsonb, text) IS
    'Makes a gallery in a schema of its own, binds it to a model, and returns the name of the schema, or NULL if there is a '
    'gallery with this name. It needs the authority of an administrator of all galleries or the owner.';

CREATE OR REPLACE FUNCTION register_gallery(gallery_name TEXT, of_schema TEXT, url TEXT, authority TEXT)
RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM require_operator(authority);
    IF url IS NULL THEN
        -- delete_gallery() would drop a schema of this database with the owner's rights.
        RAISE EXCEPTION 'a gallery of this database is made by create_gallery()' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT EXISTS (SELECT FROM galleries WHERE name IS NULL) THEN
        PERFORM create_gallery(NULL, NULL, authority);
    END IF;
    INSERT INTO galleries (name, schema_name, database_url, schema_version)
    VALUES (gallery_name, of_schema, url, (SELECT max(m.version) FROM pgface_migrations m))
    ON CONFLICT (name) DO NOTHING;
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION register_gallery(text, text, text, text) IS
    'Registers a gallery that is on another server, and returns whether the name was free. It needs the authority of an administrator of all galleries or the owner.';

CREATE OR REPLACE FUNCTION rename_gallery(gallery_name TEXT, new_name TEXT, authority TEXT)
RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM require_operator(authority);
    UPDATE galleries g SET name = new_name WHERE g.name = gallery_name;
    RETURN FOUND;
EXCEPTION WHEN unique_violation THEN
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION rename_gallery(text, text, text) IS
    'Renames a gallery, and returns whether there was one, or NULL if the new name is taken. It needs the authority of an administrator of all galleries or the '
    'owner.';

CREATE OR REPLACE FUNCTION delete_gallery(gallery_name TEXT, authority TEXT)
RETURNS TABLE(gallery_id UUID, schema_name TEXT, database_url TEXT)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
SET client_min_messages = warning
AS $$
#variable_conflict use_column
DECLARE
    entry RECORD;
BEGIN
    PERFORM require_operator(authority);
    DELETE FROM galleries g WHERE g.name = gallery_name RETURNING g.schema_name, g.database_url INTO entry;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    schema_name := entry.schema_name;
    database_url := entry.database_url;
    IF entry.database_url IS NULL THEN
        EXECUTE format('SELECT id FROM %I.gallery', entry.schema_name) INTO gallery_id;
        EXECUTE format('DROP SCHEMA %I CASCADE', entry.schema_name);
    END IF;
    RETURN NEXT;
END;
$$;

COMMENT ON FUNCTION delete_gallery(text, text) IS
    'Deletes a gallery with all its data, and returns which it was. Only the registry''s entry is deleted if the gallery is '
    'on another server. It needs the authority of an administrator of all galleries or the owner.';

CREATE OR REPLACE FUNCTION gallery_sizes(of_galleries TEXT[])
RETURNS TABLE(name TEXT, model_name TEXT, people BIGINT, faces BIGINT)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    each RECORD;
BEGIN
    FOR each IN
        SELECT g.name, g.schema_name FROM galleries g
        WHERE g.name = ANY (of_galleries) AND g.database_url IS NULL AND to_regclass(format('%I.gallery', g.schema_name)) IS NOT NULL
        ORDER BY g.name
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %1$L, (SELECT model_name FROM %2$I.gallery), (SELECT count(*) FROM %2$I.users WHERE is_person), '
            '(SELECT count(*) FROM %2$I.face_embeddings)',
            each.name, each.schema_name
        );
    END LOOP;
END;
$$;

COMMENT ON FUNCTION gallery_sizes(text[]) IS
    'The model, and the number of people and of faces, of these registered galleries of this database. It locks the tables of each '
    'until the end of the transaction, so ask for at most 50 in one transaction.';

CREATE OR REPLACE FUNCTION open_all_galleries(to_key INTEGER, authority TEXT)
RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM require_operator(authority);
    UPDATE api_keys k SET all_galleries = TRUE WHERE k.id = to_key;
END;
$$;

COMMENT ON FUNCTION open_all_galleries(integer, text) IS
    'Gives a key access to all galleries. It needs the authority of an administrator of all galleries or the owner.';

-- In the log, a caller of the default gallery that acts in another one is an operator.
DO $$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('record_event'::regproc), '(command line|(user|key) [0-9]', '(command line|(user|(operator )?key|operator) [0-9]'
    );
END;
$$;

-- The addresses of other servers may contain passwords.
REVOKE ALL ON galleries, gallery_script FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION
    is_operator(TEXT), require_operator(TEXT), copy_gallery_rights(TEXT, TEXT), remove_suffix(TEXT, TEXT),
    create_gallery(TEXT, JSONB, TEXT), register_gallery(TEXT, TEXT, TEXT, TEXT), rename_gallery(TEXT, TEXT, TEXT),
    delete_gallery(TEXT, TEXT), gallery_sizes(TEXT[]), open_all_galleries(INTEGER, TEXT)
FROM PUBLIC;
