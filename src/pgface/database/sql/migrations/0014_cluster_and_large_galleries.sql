-- Functions that did not work on a cluster of Citus, in a large gallery, or beside other programs' tables.

-- A sample of random rows in place of TABLESAMPLE. Citus passes no parameter to that, so the whole table was the sample. The
-- condition is in a subquery, because PostgreSQL would check it only after the joins otherwise.

-- A probe is the mean of a user's embeddings, moved by a random distance in a random direction. The distance follows from the
-- similarity of a random embedding of the gallery to the other embeddings of its user. The direction is a random mixture of the
-- differences between such embeddings and the means of the others.
CREATE OR REPLACE FUNCTION draw_probes(wanted INTEGER)
RETURNS TABLE(user_id INTEGER, probe vector)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    max_mixed CONSTANT INTEGER := 1000;
    share float := wanted::float / greatest(1, (SELECT count(*) FROM face_embeddings));
    users INTEGER[];
    means vector[];
    -- Lengths of the means: the cosine of a photo with a mean is its average similarity to the embeddings, divided by the length.
    lengths float[];
    -- For embeddings of users who have others: the unit difference from the mean of the others, and the average similarity to them.
    differences vector[];
    opposites vector[];
    similarities float[];
    away vector;
    cosine float;
BEGIN
    LOOP
        SELECT array_agg(s.user_id), array_agg(s.mean), array_agg(s.length),
            array_agg(l2_normalize(s.embedding - scaled(s.others, s.similarity / vector_norm(s.others) ^ 2)))
                FILTER (WHERE s.others IS NOT NULL),
            array_agg(s.similarity) FILTER (WHERE s.others IS NOT NULL)
        INTO users, means, lengths, differences, similarities
        FROM (
            SELECT e.user_id, l2_normalize(e.embedding) AS embedding, l2_normalize(own.mean) AS mean,
                vector_norm(own.mean) AS length, others.mean AS others,
                -(l2_normalize(e.embedding) <#> others.mean) AS similarity
            FROM (SELECT fe.* FROM face_embeddings fe WHERE random() < share) e
            CROSS JOIN LATERAL (
                SELECT avg(l2_normalize(o.embedding)) AS mean FROM face_embeddings o WHERE o.user_id = e.user_id
            ) own
            CROSS JOIN LATERAL (
                SELECT avg(l2_normalize(o.embedding)) AS mean
                FROM face_embeddings o
                WHERE o.user_id = e.user_id AND o.id <> e.id
            ) others
            -- Opposite embeddings have no mean.
            WHERE vector_norm(own.mean) > 1e-3 AND (others.mean IS NULL OR vector_norm(others.mean) > 1e-3)
        ) s;
        EXIT WHEN users IS NOT NULL OR share >= 1;
        share := 1;
    END LOOP;
    differences := (coalesce(differences, means))[1:max_mixed];
    opposites := ARRAY(SELECT scaled(u.difference, -1) FROM unnest(differences) AS u(difference));
    FOR number IN 1..coalesce(cardinality(users), 0) LOOP
        away := (
            SELECT sum(CASE WHEN random() < 0.5 THEN u.difference ELSE u.opposite END)
            FROM unnest(differences, opposites) AS u(difference, opposite)
        );
        -- A small random part in every direction, so that a mixture of few differences resembles none of them too closely.
        away := away + (SELECT array_agg(0.1 * random_normal()) FROM generate_series(1, vector_dims(away)))::vector;
        away := l2_normalize(away + scaled(means[number], away <#> means[number]));
        cosine := CASE
            WHEN similarities IS NULL THEN 0.3 + 0.6 * random()
            ELSE similarities[1 + floor(random() * cardinality(similarities))::integer] / lengths[number]
        END;
        cosine := least(greatest(cosine, 0.1), 1);
        user_id := users[number];
        probe := l2_normalize(scaled(means[number], cosine) + scaled(away, sqrt(1 - cosine ^ 2)));
        RETURN NEXT;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION draw_probes(integer) IS
    'Internal: probes that resemble further photos of users of the gallery. Their number is about the wanted one.';

-- Names are looked up here and not in the query of the registry, because Citus sends that to the node of the gallery, which knows
-- neither the client's search path nor the schemas of other nodes.
CREATE OR REPLACE FUNCTION unfinished_jobs()
RETURNS TABLE(of_schema TEXT, job_id UUID)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT TEXT := current_schema();
    each TEXT;
BEGIN
    FOR each IN
        SELECT home
        UNION ALL
        SELECT g.schema_name FROM galleries g WHERE g.database_url IS NULL
    LOOP
        CONTINUE WHEN to_regclass(format('%I.jobs', each)) IS NULL;
        RETURN QUERY EXECUTE format(
            'SELECT %1$L::text, id FROM %1$I.jobs WHERE state IN (''queued'', ''running'')', each
        );
    END LOOP;
END;
$$;

COMMENT ON FUNCTION unfinished_jobs() IS
    'Internal: the jobs that are not finished, in this gallery and in those of its registry on this database.';

-- With millions of stale users, every batch of templates read the whole table several times.
CREATE INDEX IF NOT EXISTS idx_stale_templates_user_id ON stale_templates (user_id);

CREATE OR REPLACE FUNCTION refresh_templates(max_users INTEGER DEFAULT 100)
RETURNS INTEGER
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- Users whose rows another transaction has locked are skipped. If this function has to wait anyway, it gives up before PostgreSQL
-- detects a deadlock and cancels one of the two transactions.
SET lock_timeout = '200ms'
AS $$
DECLARE
    first INTEGER;
    taken INTEGER[];
    -- Photos that verification would not accept as one person do not share a template.
    least_similarity float := (SELECT greatest(g.verify_threshold, 0.1) FROM gallery g);
BEGIN
    -- The search for stale users begins here. Otherwise each call passes over the users of all calls before.
    first := (SELECT min(s.user_id) FROM stale_templates s);
    WHILE first IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = first) LOOP -- a deleted user
        DELETE FROM stale_templates s WHERE s.user_id = first;
        first := (SELECT min(s.user_id) FROM stale_templates s WHERE s.user_id > first);
    END LOOP;
    taken := ARRAY(
        SELECT u.id
        FROM users u
        WHERE u.id >= first AND u.id IN (SELECT s.user_id FROM stale_templates s)
        ORDER BY u.id
        LIMIT max_users
        FOR NO KEY UPDATE SKIP LOCKED
    );
    IF cardinality(taken) < max_users THEN -- Only then, because it reads the whole table.
        DELETE FROM stale_templates s WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = s.user_id);
    END IF;
    -- These rows are deleted before the embeddings are read, so that the row of an enrollment in between stays.
    DELETE FROM stale_templates s WHERE s.user_id = ANY (taken);
    DELETE FROM user_templates t WHERE t.user_id = ANY (taken);
    -- One template is enough if every embedding is similar enough to the mean. The limit is the cosine of n unit vectors with
    -- pairwise cosine c to their mean, sqrt((1 + (n - 1) c) / n). Opposite vectors have no mean.
    WITH means AS (
        SELECT fe.user_id, avg(l2_normalize(fe.embedding)) AS mean, count(*) AS photos
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
        GROUP BY fe.user_id
    )
    INSERT INTO user_templates (user_id, template)
    SELECT means.user_id, l2_normalize(means.mean)::halfvec(512)
    FROM means
    WHERE vector_norm(means.mean) > 1e-3
        AND (
            SELECT bool_and(
                1 - (fe.embedding <=> means.mean)
                    >= sqrt((1 + (means.photos - 1) * least_similarity) / means.photos) - 1e-6
            )
            FROM face_embeddings fe
            WHERE fe.user_id = means.user_id
        );
    INSERT INTO user_templates (user_id, template)
    SELECT ungrouped.user_id, groups.template
    FROM (
        SELECT DISTINCT fe.user_id
        FROM face_embeddings fe
        WHERE fe.user_id = ANY (taken)
            AND NOT EXISTS (SELECT FROM user_templates t WHERE t.user_id = fe.user_id)
    ) ungrouped
    CROSS JOIN LATERAL templates_of_groups(ungrouped.user_id, least_similarity) AS groups(template);
    INSERT INTO template_bits (template_id, user_id, bits)
    SELECT t.id, t.user_id, binary_quantize(t.template)::bit(512)
    FROM user_templates t
    WHERE t.user_id = ANY (taken);
    RETURN cardinality(taken);
END;
$$;

COMMENT ON FUNCTION refresh_templates(integer) IS
    'Makes the templates of at most max_users users whose embeddings changed, and returns the number of those users. Call it '
    'until it returns 0. pgface does so in the background. If you enroll only by SQL, call it yourself now and then.';

-- For each probe, an exact answer compares every embedding. With 1,000 probes, that took longer among millions than to build the
-- index.
CREATE OR REPLACE FUNCTION probes_to_measure(embeddings BIGINT)
RETURNS INTEGER
LANGUAGE plpgsql IMMUTABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    max_comparisons CONSTANT float := 2e9;
BEGIN
    -- At most a tenth, so that measuring a small gallery does not take longer than filling it.
    RETURN ceil(least(1000, 0.1 * embeddings, greatest(200, max_comparisons / greatest(1, embeddings))));
END;
$$;

COMMENT ON FUNCTION probes_to_measure(bigint) IS 'Internal: the number of probes that a fit tries in a gallery of this size.';

DO $$
BEGIN
    EXECUTE replace(
        replace(
            pg_get_functiondef('measure_search'::regproc),
            'draw_probes(least(max_probes, ceil(0.1 * (SELECT count(*) FROM face_embeddings)))::integer)',
            'draw_probes(least(max_probes, probes_to_measure((SELECT count(*) FROM face_embeddings))))'
        ),
        -- Among millions, 1,000 templates miss a few people. To compare more takes little beside reading all signs.
        'ARRAY[100, 200, 400, 1000];',
        'ARRAY[100, 200, 400, 1000]
        || CASE WHEN (SELECT count(*) FROM user_templates) > 1000000 THEN ARRAY[4000] END;'
    );
END
$$;

-- A gallery could not be created if the schema of the default gallery has other tables or functions that others may use, such as
-- the view of pg_stat_statements.
CREATE OR REPLACE FUNCTION copy_gallery_rights(target TEXT, suffix TEXT DEFAULT '')
RETURNS VOID
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    home CONSTANT OID := quote_ident(current_schema())::regnamespace;
    made CONSTANT OID := quote_ident(target)::regnamespace;
    own CONSTANT TEXT[] := string_to_array(
        'galleries galleries_id_seq gallery_script create_gallery register_gallery rename_gallery delete_gallery gallery_sizes '
        'open_all_galleries', ' '
    );
    -- Tables and functions of extensions and of other programs may stand beside the gallery's.
    relations CONSTANT OID[] := ARRAY(
        SELECT c.oid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.classid = 'pg_class'::regclass
            AND EXISTS (SELECT FROM pg_class t WHERE t.relname = c.relname AND t.relnamespace = made)
    );
    routines CONSTANT OID[] := ARRAY(
        SELECT p.oid FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.classid = 'pg_proc'::regclass
            AND EXISTS (
                SELECT FROM pg_proc t
                WHERE t.proname = p.proname || suffix AND t.pronamespace = made AND t.proargtypes = p.proargtypes
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
