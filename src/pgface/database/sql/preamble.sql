-- Checks pgvector, and sets the search_path to the gallery's schema. The gallery's schema is the first one of the search_path.
-- pgface sets the search_path from PGFACE_SCHEMA. In psql, you set it.

SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    newest integer := 0;
    installed text;
BEGIN
    IF current_schema() IS NULL THEN
        RAISE EXCEPTION 'no schema of the search_path (%) exists. Create it first', current_setting('search_path')
            USING ERRCODE = 'invalid_schema_name';
    END IF;
    IF to_regclass(format('%I.pgface_migrations', current_schema())) IS NOT NULL THEN
        EXECUTE format('SELECT coalesce(max(version), 0) FROM %I.pgface_migrations', current_schema()) INTO newest;
    END IF;
    IF newest > :known_version: THEN
        RAISE EXCEPTION 'this gallery has schema version %, newer than the :known_version: known here. Upgrade pgface', newest
            USING ERRCODE = 'PGF01';
    END IF;

    -- An extension exists once in a database, so it goes into a schema where all galleries find it.
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
        EXECUTE format('CREATE EXTENSION vector SCHEMA %I', coalesce(to_regnamespace('public')::text, current_schema()));
    END IF;
    SELECT extversion INTO installed FROM pg_extension WHERE extname = 'vector';
    IF string_to_array(regexp_replace(installed, '[^0-9.]', '', 'g'), '.')::integer[] < '{0,7}' THEN
        RAISE EXCEPTION 'pgvector % is too old, 0.7 or newer is needed. Install it on the server, then run '
            'ALTER EXTENSION vector UPDATE', installed
            USING ERRCODE = 'PGF02';
    END IF;
END
$$;

-- The functions keep this path (SET search_path FROM CURRENT), so that they find this gallery's tables for every caller. pg_temp
-- comes last, so that a temporary table cannot take the place of one of them.
DO $$
BEGIN
    PERFORM set_config(
        'search_path',
        concat_ws(', ', quote_ident(current_schema()), nullif(quote_ident(nspname), quote_ident(current_schema())), 'pg_temp'),
        true
    )
    FROM pg_extension
    JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'vector';
END
$$;

CREATE TABLE IF NOT EXISTS pgface_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Other sessions can still read it.
LOCK TABLE pgface_migrations IN EXCLUSIVE MODE;
