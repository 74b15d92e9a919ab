"""The database contract: the names, types and defaults of the specification's init.sql."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection, errors
from psycopg.conninfo import conninfo_to_dict

from pgface.database.embedded.server import binaries
from pgface.database.sql import init_sql, migrations
from support.databases import create_database
from support.galleries import ODD_SCHEMA, add_embedding, add_user, axis, between, rows
from support.sentences import database as says

INIT_SQL = Path(__file__).parents[2] / "deploy" / "init.sql"

# Table: column -> (type, nullable, default), as the specification's script makes them.
TIME = ("timestamp without time zone", "YES", "CURRENT_TIMESTAMP")
CONTRACT = {
    "users": {
        "id": ("integer", "NO", "nextval"),
        "name": ("character varying(255)", "NO", None),
        "email": ("character varying(255)", "NO", None),
        "password": ("character varying(255)", "NO", None),
        "created_at": TIME,
    },
    "photos": {
        "id": ("integer", "NO", "nextval"),
        "user_id": ("integer", "NO", None),
        "filename": ("character varying(255)", "NO", None),
        "filepath": ("text", "NO", None),
        "width": ("integer", "YES", "224"),
        "height": ("integer", "YES", "224"),
        "created_at": TIME,
    },
    "auth_tokens": {
        "id": ("integer", "NO", "nextval"),
        "user_id": ("integer", "NO", None),
        "token": ("character varying(255)", "NO", None),
        "confidence": ("real", "NO", None),
        "created_at": TIME,
        "expires_at": ("timestamp without time zone", "YES", None),
        "is_active": ("boolean", "YES", "true"),
    },
    "face_embeddings": {
        "id": ("integer", "NO", "nextval"),
        "user_id": ("integer", "NO", None),
        "photo_id": ("integer", "YES", None),
        "embedding": ("vector(512)", "NO", None),
        "created_at": TIME,
        "updated_at": TIME,
    },
}
INDEXES = {
    "idx_users_email",
    "idx_photos_user_id",
    "idx_auth_tokens_token",
    "idx_auth_tokens_user_id",
    "idx_auth_tokens_active",
    "idx_embeddings_user_id",
    "idx_embeddings_vector",
}


@pytest.fixture(params=["public", ODD_SCHEMA], ids=["public", "other-schema"])
def schema_name(request: pytest.FixtureRequest) -> str:
    """Runs every test in both schemas."""
    return str(request.param)


@pytest.mark.parametrize("table", CONTRACT)
def test_columns_have_the_specifications_types_and_defaults(connection: Connection, table: str) -> None:
    found = {
        name: (kind, "NO" if not_null else "YES", default)
        for name, kind, not_null, default in rows(
            connection,
            """
            SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
            FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
            """,
            table,
        )
    }
    for column, (kind, nullable, default) in CONTRACT[table].items():
        assert found[column][:2] == (kind, nullable), column
        assert (found[column][2] or "").startswith(default or ""), column
        assert (found[column][2] is None) == (default is None), column
    for column in found.keys() - CONTRACT[table].keys():
        _, nullable, default = found[column]
        assert nullable == "YES" or default is not None, f"{column} would break the specification's INSERTs"


def test_indexes_have_the_specifications_names(connection: Connection) -> None:
    found = {
        name for (name,) in rows(connection, "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")
    }
    assert found >= INDEXES


def test_deleting_a_user_deletes_all_their_rows_and_deleting_a_photo_only_unlinks(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    (photo,) = rows(
        connection, "INSERT INTO photos (user_id, filename, filepath) VALUES (%s, 'f', 'p') RETURNING id", user
    )[0]
    connection.execute("INSERT INTO auth_tokens (user_id, token, confidence) VALUES (%s, 't', 1)", (user,))
    embedding = add_embedding(connection, user, axis(0))
    connection.execute("UPDATE face_embeddings SET photo_id = %s", (photo,))

    connection.execute("DELETE FROM photos WHERE id = %s", (photo,))
    assert rows(connection, "SELECT id, photo_id FROM face_embeddings") == [(embedding, None)]

    connection.execute("DELETE FROM users WHERE id = %s", (user,))
    assert rows(connection, "SELECT (SELECT count(*) FROM auth_tokens), (SELECT count(*) FROM face_embeddings)") == [
        (0, 0)
    ]


def test_an_update_sets_updated_at(connection: Connection) -> None:
    embedding = add_embedding(connection, add_user(connection, "a@example.org"), axis(0))
    connection.execute("UPDATE face_embeddings SET embedding = %s", (axis(1),))
    query = "SELECT updated_at > created_at FROM face_embeddings WHERE id = %s"
    assert rows(connection, query, embedding) == [(True,)]


def test_embeddings_stay_in_the_row(connection: Connection) -> None:
    query = "SELECT attstorage::text FROM pg_attribute WHERE attrelid = 'face_embeddings'::regclass AND attname = %s"
    assert rows(connection, query, "embedding") == [("p",)]


def test_find_similar_face_gives_the_best_person_above_the_threshold(connection: Connection) -> None:
    alice, bob = add_user(connection, "alice@example.org"), add_user(connection, "bob@example.org")
    add_embedding(connection, alice, axis(0))
    best = add_embedding(connection, bob, between(0, 1, 0.9))
    probe = between(0, 1, 0.95)

    cursor = connection.execute("SELECT * FROM find_similar_face(%s)", (probe,))
    assert [column.name for column in cursor.description or ()] == [
        "user_id",
        "user_name",
        "user_email",
        "similarity",
        "embedding_id",
    ]
    ((user_id, name, email, similarity, embedding_id),) = cursor.fetchall()
    assert (user_id, name, email, embedding_id) == (bob, "bob", "bob@example.org", best)
    assert similarity == pytest.approx(0.95 * 0.9 + (1 - 0.95**2) ** 0.5 * (1 - 0.9**2) ** 0.5, abs=1e-6)

    assert rows(connection, "SELECT user_id FROM find_similar_face(%s)", between(0, 5, 0.69)) == []
    assert rows(connection, "SELECT user_id FROM find_similar_face(%s)", between(0, 5, 0.71)) == [(alice,)]
    assert rows(connection, "SELECT user_id FROM find_similar_face(%s, 0.5)", between(0, 5, 0.69)) == [(alice,)]
    named = "SELECT user_id FROM find_similar_face(query_embedding => %s, similarity_threshold => 0.5)"
    assert rows(connection, named, between(0, 5, 0.69)) == [(alice,)]


def test_find_similar_faces_finds_each_person_once_also_beside_one_with_many_photos(connection: Connection) -> None:
    crowd, rare = add_user(connection, "crowd@example.org"), add_user(connection, "rare@example.org")
    best = add_embedding(connection, crowd, axis(0))
    for number in range(500):
        add_embedding(connection, crowd, between(0, 1 + number % 500, 0.99))
    other = add_embedding(connection, rare, between(0, 511, 0.75))

    found = rows(connection, "SELECT user_id, embedding_id FROM find_similar_faces(%s, 0.7, 10)", axis(0))
    assert found == [(crowd, best), (rare, other)]
    assert rows(connection, "SELECT user_id FROM find_similar_faces(%s, 0.7)", axis(0)) == [(crowd,)]


def test_without_a_threshold_the_gallerys_own_applies(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    add_embedding(connection, user, axis(0))
    connection.execute("UPDATE gallery SET identify_threshold = 0.4, verify_threshold = 0.3")
    assert rows(connection, "SELECT user_id FROM find_similar_faces(%s)", between(0, 1, 0.39)) == []
    assert rows(connection, "SELECT user_id FROM find_similar_faces(%s)", between(0, 1, 0.41)) == [(user,)]
    assert rows(connection, "SELECT match FROM verify_face(%s, %s, NULL)", between(0, 1, 0.31), user) == [(True,)]
    assert rows(connection, "SELECT match FROM verify_face(%s, %s, NULL)", between(0, 1, 0.29), user) == [(False,)]


def test_verify_face_returns_a_row_for_every_user_and_no_row_for_an_unknown_one(connection: Connection) -> None:
    alice, empty = add_user(connection, "alice@example.org"), add_user(connection, "empty@example.org")
    add_embedding(connection, alice, axis(0))
    add_embedding(connection, alice, axis(1))

    cursor = connection.execute("SELECT * FROM verify_face(%s, %s)", (between(0, 1, 0.8), alice))
    assert [column.name for column in cursor.description or ()] == ["match", "similarity", "user_name", "user_email"]
    ((match, similarity, name, email),) = cursor.fetchall()
    assert (match, name, email) == (True, "alice", "alice@example.org")
    assert similarity == pytest.approx(0.8, abs=1e-6)
    assert rows(connection, "SELECT match FROM verify_face(%s, %s, 0.9)", between(0, 1, 0.8), alice) == [(False,)]
    assert rows(connection, "SELECT match, similarity FROM verify_face(%s, %s, -1)", axis(0), empty) == [(False, 0.0)]
    assert rows(connection, "SELECT * FROM verify_face(%s, 987654)", axis(0)) == []


def test_get_user_embeddings_count(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    add_embedding(connection, user, axis(0))
    add_embedding(connection, user, axis(1))
    assert rows(connection, "SELECT get_user_embeddings_count(%s)", user) == [(2,)]
    assert rows(connection, "SELECT get_user_embeddings_count(target_user_id => 987654)") == [(0,)]


def test_a_zero_vector_is_refused_everywhere_with_its_reason(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    add_embedding(connection, user, axis(0))
    zero = axis(0, scale=0.0)
    with pytest.raises(errors.CheckViolation, match="embedding_has_a_cosine_so_it_is_not_zero_or_nan"):
        add_embedding(connection, user, zero)
    with pytest.raises(errors.CheckViolation, match="embedding_has_a_cosine_so_it_is_not_zero_or_nan"):
        connection.execute("UPDATE face_embeddings SET embedding = %s", (zero,))
    for call in ("find_similar_face(%s)", "find_similar_faces(%s, -1, 9)", f"verify_face(%s, {user}, -1)"):
        with pytest.raises(errors.InvalidParameterValue, match=says.ZERO_VECTOR_HAS_NO_COSINE.pattern()):
            rows(connection, f"SELECT * FROM {call}", zero)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_the_vector_type_itself_refuses_numbers_that_are_not_finite(connection: Connection, value: str) -> None:
    user = add_user(connection, "a@example.org")
    with pytest.raises(errors.DataException, match="not allowed in vector"):
        add_embedding(connection, user, axis(0).replace("1.0", value))


def test_a_vector_whose_cosine_would_be_imprecise_is_refused(connection: Connection) -> None:
    """Near the smallest floats, the sums of a cosine are so imprecise that strangers match by chance."""
    user = add_user(connection, "a@example.org")
    spread = "[" + ",".join("3e-23" if i == 0 else "2.5e-23" for i in range(512)) + "]"
    for vector in (axis(0, 1e-30), axis(0, 1e38), spread):
        with pytest.raises(errors.CheckViolation, match="embedding_has_a_cosine"):
            add_embedding(connection, user, vector)
        with pytest.raises(errors.InvalidParameterValue, match=says.ZERO_VECTOR_HAS_NO_COSINE.pattern()):
            rows(connection, "SELECT * FROM verify_face(%s, %s)", vector, user)
    for scale in (1e-14, 1e14):
        add_embedding(connection, user, axis(0, scale))
        assert rows(connection, "SELECT similarity FROM verify_face(%s, %s)", axis(0, scale), user) == [(1.0,)]


def test_a_role_with_rights_on_the_specifications_tables_needs_no_more(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    add_embedding(connection, user, axis(0))
    (gallery,) = rows(connection, "SELECT id FROM gallery")[0]
    connection.execute("INSERT INTO photos (user_id, filename, filepath) VALUES (%s, 'f', %s)", (user, f"{gallery}/x"))
    (schema,) = rows(connection, "SELECT quote_ident(current_schema())")[0]
    role = f"plain_{connection.info.backend_pid}"
    connection.execute(f"CREATE ROLE {role}".encode())
    grants = (
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON users, photos, auth_tokens, face_embeddings TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
        f"SET ROLE {role}",
    )
    for statement in grants:
        connection.execute(statement.encode())
    connection.prepare_threshold = 0
    for _ in range(8):  # PostgreSQL changes its plan after five
        assert rows(connection, "SELECT user_id FROM find_similar_faces(%s, %s)", axis(0), 0.5) == [(user,)]
        assert rows(connection, "SELECT match FROM verify_face(%s, %s, %s)", axis(0), user, 0.5) == [(True,)]
    connection.execute("DELETE FROM photos")
    connection.execute("RESET ROLE")
    assert rows(connection, "SELECT filepath FROM deleted_photo_files") == [(f"{gallery}/x",)]
    connection.execute(f"DROP OWNED BY {role}".encode())
    connection.execute(f"DROP ROLE {role}".encode())


def test_only_paths_of_the_gallerys_own_crops_are_listed_for_deletion(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    connection.execute("INSERT INTO photos (user_id, filename, filepath) VALUES (%s, 'f', '/etc/passwd')", (user,))
    connection.execute("DELETE FROM photos")
    assert rows(connection, "SELECT * FROM deleted_photo_files") == []


def test_the_specifications_index_tuning_and_explain_work_as_written(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    ((definition,),) = rows(connection, "SELECT pg_get_indexdef('idx_embeddings_vector'::regclass)")
    connection.execute("DROP INDEX idx_embeddings_vector")
    connection.execute("SELECT setseed(0.5)")
    connection.execute(
        """
        INSERT INTO face_embeddings (user_id, embedding)
        SELECT %s, array_agg(random() - 0.5)::vector FROM generate_series(1, 3000) row, generate_series(1, 512)
        GROUP BY row
        """,
        (user,),
    )
    connection.execute(definition)
    connection.execute("VACUUM ANALYZE face_embeddings")
    explain = f"EXPLAIN SELECT * FROM face_embeddings ORDER BY embedding <=> '{axis(0)}'::vector LIMIT 10"
    assert "Index Scan using idx_embeddings_vector" in rows(connection, explain)[1][0]

    connection.execute("DROP INDEX idx_embeddings_vector")
    connection.execute(
        "CREATE INDEX idx_embeddings_vector ON face_embeddings USING ivfflat (embedding vector_cosine_ops) "
        "WITH (lists = 316)"
    )
    assert "Index Scan using idx_embeddings_vector" in rows(connection, explain)[1][0]


def test_identification_is_exact_also_with_an_inexact_index(connection: Connection) -> None:
    """The specification's index, made on the empty table, finds the right person for less than half of the probes."""
    connection.execute("DROP INDEX idx_embeddings_vector")
    connection.execute("SET client_min_messages = warning")
    connection.execute(
        "CREATE INDEX idx_embeddings_vector ON face_embeddings USING ivfflat (embedding vector_cosine_ops) "
        "WITH (lists = 100)"
    )
    people = [add_user(connection, f"user{number}@example.org") for number in range(12)]
    for number, user in enumerate(people):
        add_embedding(connection, user, axis(number))
    for number, user in enumerate(people):
        assert rows(connection, "SELECT user_id FROM find_similar_face(%s)", between(number, 500, 0.9)) == [(user,)]


def test_a_callers_search_path_and_temporary_tables_change_no_answer(connection: Connection) -> None:
    user = add_user(connection, "a@example.org")
    add_embedding(connection, user, axis(0))
    (schema,) = rows(connection, "SELECT quote_ident(current_schema())")[0]
    connection.execute("CREATE TEMPORARY TABLE users (id integer, name varchar, email varchar)")
    connection.execute("CREATE TEMPORARY TABLE face_embeddings (id integer, user_id integer, embedding vector(512))")
    connection.execute("SET search_path = pg_temp, public")
    found = rows(connection, f"SELECT user_id FROM {schema}.find_similar_face('{axis(0)}'::public.vector)")
    assert found == [(user,)]


def test_two_galleries_in_one_database_do_not_see_each_other(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for schema in ("public", ODD_SCHEMA, "third"):
            migrate_into(connection, schema)
        counts = []
        for number, schema in enumerate(("public", ODD_SCHEMA, "third")):
            connection.execute("SELECT set_config('search_path', quote_ident(%s) || ', public', false)", (schema,))
            user = add_user(connection, "same@example.org")
            add_embedding(connection, user, axis(number))
            counts.append(rows(connection, "SELECT count(*) FROM find_similar_faces(%s, -1, 99)", axis(0))[0][0])
        assert counts == [1, 1, 1]
        ids = {rows(connection, f"SELECT id FROM {quoted}.gallery")[0][0] for quoted in ("public", "third")}
        assert len(ids) == 2


def migrate_into(connection: Connection, schema: str) -> None:
    from pgface.database.migrate import migrate

    assert len(migrate(connection, schema)) == len(migrations())


# The documentation of the schema


FUNCTIONS = """
    SELECT p.proname, obj_description(p.oid, 'pg_proc')
    FROM pg_proc p
    WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
        AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        )
"""
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sql.md"


def test_every_function_has_a_unique_name_and_a_comment(connection: Connection) -> None:
    found = rows(connection, FUNCTIONS)
    assert [name for name, comment in found if not comment] == []
    assert len({name for name, _ in found}) == len(found)


def test_the_reference_names_every_function_but_the_internal_ones(connection: Connection) -> None:
    page = PAGE.read_text(encoding="utf-8")
    documented = set(re.findall(r"`(?:CALL )?([a-z_]+)\(", page))
    api = {name for name, comment in rows(connection, FUNCTIONS) if not comment.startswith("Internal: ")}
    internal = {name for name, comment in rows(connection, FUNCTIONS) if comment.startswith("Internal: ")}
    assert {"find_similar_face", "verify_face", "get_user_embeddings_count", "fit_search"} <= api
    assert sorted(api - documented) == []
    assert sorted(internal & documented) == []


def test_functions_are_bound_to_their_gallery_and_few_are_in_sql(connection: Connection) -> None:
    """A distributed PostgreSQL refuses parameters in SQL functions that read tables."""
    query = """
        SELECT p.proname, l.lanname, p.prokind = 'p', array_to_string(p.proconfig, ' ') ~ 'search_path='
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace AND p.proname = ANY (%s)
    """
    names = [name for name, _ in rows(connection, FUNCTIONS)]
    found = rows(connection, query, names)
    assert len(found) == len(names)
    assert {name for name, language, _, _ in found if language != "plpgsql"} == {"require_cosine"}
    assert {name for name, _, _, bound in found if not bound} == {"require_cosine", "fit_search"}


def test_the_script_defines_everything_once_and_in_its_sections() -> None:
    # A migration may replace a function of an earlier one.
    for migration in migrations():
        made = re.findall(
            r"^CREATE (?:OR REPLACE )?(?:UNLOGGED )?([A-Z]+(?: INDEX)?) (?:IF NOT EXISTS )?(\w+)",
            migration.sql,
            re.MULTILINE,
        )
        assert migration.version > 1 or len(made) > 100
        assert len(set(made)) == len(made)
    script = migrations()[0].sql  # later functions stand in the files of their migrations
    sections = [script.index(f"-- {number}. {title}") for number, title in enumerate(SECTIONS, start=1)]
    assert sections == sorted(sections)
    internal = script[sections[3] :]
    for name, comment in re.findall(r"COMMENT ON \w+ (\w+)\(.*\) IS\s+'(\w+:?)", script):
        is_internal = comment == "Internal:"
        first = name in ("refuse_zero_vector", "require_cosine")  # verify_face is bound to them when it is made
        assert is_internal == (first or f"COMMENT ON FUNCTION {name}(" in internal), name


SECTIONS = ("TABLES", "API: functions", "API of the service", "INTERNAL", "TRIGGERS", "RIGHTS")


# deploy/init.sql


def test_the_committed_script_is_the_sum_of_the_migrations() -> None:
    assert INIT_SQL.read_text(encoding="utf-8") == init_sql(), "run `pgface schema -o deploy/init.sql`"


def run_psql(url: str, version: int, *arguments: str, search_path: str = "public") -> subprocess.CompletedProcess[str]:
    settings = conninfo_to_dict(url)
    environment = os.environ | {
        "PGHOST": str(settings["host"]),
        "PGUSER": str(settings["user"]),
        "PGDATABASE": str(settings["dbname"]),
        "PGOPTIONS": f"-c search_path={search_path}",
    }
    command = [str(binaries(version) / "psql"), "-X", "-v", "ON_ERROR_STOP=1", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", [16, 18])
@pytest.mark.parametrize("schema", ["public", "elsewhere"])
def test_the_script_can_run_twice_and_makes_the_same_schema_as_python(
    version: int, schema: str, request: pytest.FixtureRequest
) -> None:
    url = create_database(request.getfixturevalue(f"postgres{version}"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        for _ in range(2):
            done = run_psql(url, version, "-f", str(INIT_SQL), search_path=schema)
            assert (done.returncode, done.stderr) == (0, "")
        versions = f"SELECT array_agg(version ORDER BY version) FROM {schema}.pgface_migrations"
        assert rows(connection, versions) == [([m.version for m in migrations()],)]
        by_script = definitions(connection, schema)
    with psycopg.connect(create_database(url), autocommit=True) as connection:
        migrate_into(connection, schema)
        assert definitions(connection, schema) == by_script


def definitions(connection: Connection, schema: str) -> list[tuple[str]]:
    """Return the columns, indexes, constraints, triggers and functions of a schema."""
    query = """
        SELECT format('%s.%s %s %s', table_name, column_name, data_type, column_default) AS definition
        FROM information_schema.columns WHERE table_schema = $schema
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = $schema
        UNION ALL SELECT conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = $schema::regnamespace
        UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
        WHERE relnamespace = $schema::regnamespace AND NOT tgisinternal
        UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p
        LEFT JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
        WHERE pronamespace = $schema::regnamespace AND d.objid IS NULL
        ORDER BY definition
    """
    return rows(connection, query.replace("$schema", f"'{schema}'"))


def test_the_commented_samples_and_queries_of_the_script_run(database_url: str) -> None:
    script = init_sql()
    samples, queries = (part.split("*/")[0] for part in script.split("/*")[1:])
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate_into(connection, "public")
        connection.execute(samples.encode())
        connection.execute(samples.encode())
        assert rows(connection, "SELECT count(*) FROM users") == [(2,)]
        for query in queries.split(";")[:-1]:
            assert connection.execute(query.encode()).fetchall(), query
