"""`pgface doctor` finds missing and changed tables, functions and privileges, and fixes them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from pgface.errors import TableLockedError
from pgface.gallery import Gallery
from pgface.operations.doctor import apply_fixes, diagnose
from pgface.settings import Settings
from support.doctor import BROKEN, cli, finding_of, findings_of, fix, settings_with, sql_on
from support.galleries import ODD_SCHEMA, add_embedding, add_user, axis, in_both_schemas, rows
from support.sentences import doctor as says


@pytest.mark.parametrize("schema_name", ["public"])
def test_a_gallery_begun_by_the_specifications_script(settings: Settings, specification: str) -> None:
    (script,) = re.findall(r"```sql\n(.*?CREATE EXTENSION.*?)```", specification, re.DOTALL)
    with sql_on(settings) as connection:
        connection.execute(script.encode())
    Gallery.create(settings, model="sface").close()
    assert finding_of(settings, "tables and functions").state == "fine"


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("DROP FUNCTION verify_face", "function verify_face("),
        ("DROP FUNCTION find_similar_face", "function find_similar_face("),
        ("DROP FUNCTION refuse_zero_vector CASCADE", "function refuse_zero_vector("),
        ("DROP INDEX idx_users_email", "index idx_users_email."),
        (
            "DROP TRIGGER update_face_embeddings_updated_at ON face_embeddings",
            "trigger face_embeddings.update_face_embeddings_updated_at.",
        ),
        ("DROP FUNCTION remember_stale_templates CASCADE", "function remember_stale_templates(), "),
        (
            "ALTER TABLE face_embeddings DISABLE TRIGGER update_face_embeddings_updated_at",
            "trigger face_embeddings.update_face_embeddings_updated_at.",
        ),
        (
            "CREATE OR REPLACE FUNCTION get_user_embeddings_count(target_user_id integer) RETURNS integer "
            "LANGUAGE sql STABLE AS 'SELECT 7'",
            "function get_user_embeddings_count(target_user_id integer).",
        ),
        (
            "DO $$ BEGIN EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', "
            "(SELECT oid::regprocedure FROM pg_proc WHERE proname = 'verify_face')); END $$",
            "function verify_face(",
        ),
        ("ALTER FUNCTION update_updated_at_column RESET search_path", "function update_updated_at_column()."),
        (
            "DO $$ BEGIN EXECUTE format('ALTER FUNCTION remember_stale_templates() "
            "SET search_path = %I, evil, pg_temp', current_schema()); END $$",
            "function remember_stale_templates().",
        ),
        (
            "GRANT EXECUTE ON FUNCTION remember_stale_templates() TO PUBLIC",
            says.REVOKED_FROM_PUBLIC.format(privilege="EXECUTE ON ROUTINE remember_stale_templates()"),
        ),
        ("REVOKE SELECT ON gallery FROM PUBLIC", says.GRANTED_TO_PUBLIC.format(privilege="SELECT ON gallery")),
    ],
)
@pytest.mark.parametrize("schema_name", [ODD_SCHEMA])
def test_parts_without_data_are_created_again(settings: Settings, bound: Connection, broken: str, named: str) -> None:
    user = add_user(bound, "a@example.org")
    add_embedding(bound, user, axis(0))
    bound.execute(broken.encode())
    finding = finding_of(settings, "tables and functions")
    assert finding.state == "problem"
    assert finding.found.startswith(says.MISSING_OR_CHANGED.format(parts=named))
    assert finding.remedy == "pgface doctor --fix"
    fix(settings)
    assert finding_of(settings, "tables and functions").state == "fine"
    found = "SELECT user_id FROM find_similar_faces((SELECT embedding FROM face_embeddings), 0.9, 1)"
    assert rows(bound, found) == [(user,)]


OWN_FUNCTIONS = """
    SELECT p.oid::regprocedure::text
    FROM pg_proc p
    WHERE pronamespace = quote_ident(current_schema())::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1
"""


@in_both_schemas
def test_functions_that_call_each_other_are_all_created_again(settings: Settings, bound: Connection) -> None:
    before = rows(bound, OWN_FUNCTIONS)
    for (function,) in before:
        bound.execute(f"DROP ROUTINE IF EXISTS {function} CASCADE".encode())
    assert rows(bound, OWN_FUNCTIONS) == []
    fix(settings)
    assert finding_of(settings, "tables and functions").state == "fine"
    assert rows(bound, OWN_FUNCTIONS) == before


@pytest.mark.parametrize(
    ("broken", "named", "remedy", "undone"),
    [
        (
            "ALTER TABLE auth_tokens RENAME TO tokens",
            "table auth_tokens",
            says.RENAME_IT_BACK,
            "ALTER TABLE tokens RENAME TO auth_tokens",
        ),
        (
            "ALTER TABLE photos RENAME COLUMN width TO breadth",
            "column photos.width",
            says.RENAME_IT_BACK_OR_ADD_IT.format(statement="ALTER TABLE photos ADD COLUMN width integer DEFAULT 224;"),
            "ALTER TABLE photos RENAME COLUMN breadth TO width",
        ),
        (
            "ALTER TABLE users DROP COLUMN created_at",
            "column users.created_at",
            "ALTER TABLE users ADD COLUMN created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP;",
            "ALTER TABLE users ADD COLUMN created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP",
        ),
        (
            "ALTER TABLE photos ALTER COLUMN width TYPE bigint",
            "column photos.width",
            says.IS_AND_SHOULD_BE.format(
                part="column photos.width", found="bigint DEFAULT 224", expected="integer DEFAULT 224"
            ),
            "ALTER TABLE photos ALTER COLUMN width TYPE integer",
        ),
        (
            "ALTER TABLE stale_templates ALTER id DROP IDENTITY",
            "column stale_templates.id",
            says.AND_SHOULD_BE.format(found="", expected="bigint GENERATED ALWAYS AS IDENTITY NOT NULL."),
            "ALTER TABLE stale_templates ALTER id ADD GENERATED ALWAYS AS IDENTITY",
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT users_email_key",
            "constraint users.users_email_key",
            says.IN_PSQL.format(statement="ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email);"),
            "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email)",
        ),
        (
            "ALTER TABLE auth_tokens DISABLE TRIGGER ALL",
            "constraint auth_tokens.auth_tokens_user_id_fkey",
            says.AND_SHOULD_BE.format(found="(DISABLED)", expected="FOREIGN KEY"),
            "ALTER TABLE auth_tokens ENABLE TRIGGER ALL",
        ),
        (
            "ALTER TABLE auth_tokens SET UNLOGGED",
            "table auth_tokens",
            says.IS_AND_SHOULD_BE.format(part="table auth_tokens", found="UNLOGGED", expected="TABLE"),
            "ALTER TABLE auth_tokens SET LOGGED",
        ),
        (
            "ALTER TABLE photos ENABLE ROW LEVEL SECURITY; ALTER TABLE photos FORCE ROW LEVEL SECURITY",
            "table photos",
            says.IS_AND_SHOULD_BE.format(
                part="table photos", found="TABLE ROW LEVEL SECURITY FORCED", expected="TABLE"
            ),
            "ALTER TABLE photos DISABLE ROW LEVEL SECURITY; ALTER TABLE photos NO FORCE ROW LEVEL SECURITY",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_users_email'::regclass",
            "index idx_users_email",
            "REINDEX INDEX idx_users_email;",
            "REINDEX INDEX idx_users_email",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_email_key'::regclass",
            "constraint users.users_email_key",
            says.AND_SHOULD_BE.format(found="(INVALID)", expected="UNIQUE (email)"),
            "REINDEX INDEX users_email_key",
        ),
    ],
)
def test_parts_with_data_are_left_for_you_to_fix(
    settings: Settings, bound: Connection, broken: str, named: str, remedy: str, undone: str
) -> None:
    add_user(bound, "a@example.org")
    bound.execute(broken.encode())
    everything = diagnose(settings)  # no other check may fail because of it
    (finding, *_) = (one for one in everything if one.check == "tables and functions" and one.fix is None)
    assert finding.state == "problem"
    assert finding.found.startswith(says.MISSING_OR_CHANGED.format(parts=named))
    assert remedy in finding.remedy
    fix(settings)
    assert finding in findings_of(settings, "tables and functions")  # nothing was made in its way
    bound.execute(undone.encode())
    fix(settings)
    assert finding_of(settings, "tables and functions").state == "fine"


def test_a_function_with_another_result_must_be_dropped_first(settings: Settings, bound: Connection) -> None:
    bound.execute("DROP FUNCTION get_user_embeddings_count")
    other = "get_user_embeddings_count(target_user_id integer)"
    bound.execute(f"CREATE FUNCTION {other} RETURNS text LANGUAGE sql AS $$ SELECT '7' $$".encode())
    finding = finding_of(settings, "tables and functions")
    assert finding.remedy == says.IN_PSQL_AND_THEN_FIX.format(statement=f"DROP FUNCTION {other};")
    bound.execute(f"DROP FUNCTION {other}".encode())
    fix(settings)
    assert finding_of(settings, "tables and functions").state == "fine"


@pytest.mark.slow
def test_a_fix_does_not_wait_long_and_is_rolled_back(settings: Settings, bound: Connection) -> None:
    bound.execute(BROKEN)
    findings = diagnose(settings)
    with sql_on(settings) as writer, writer.transaction():
        writer.execute("LOCK TABLE face_embeddings IN ROW EXCLUSIVE MODE")
        ((finding, error),) = apply_fixes(settings, findings)
    assert finding.check == "tables and functions"
    assert isinstance(error, TableLockedError)
    assert "function verify_face(" in finding_of(settings, "tables and functions").found
    fix(settings)
    assert finding_of(settings, "tables and functions").state == "fine"


def test_fixes_at_the_same_time(settings: Settings, bound: Connection) -> None:
    bound.execute(BROKEN)
    findings = diagnose(settings)
    with ThreadPoolExecutor() as threads:
        outcomes = list(threads.map(lambda _: list(apply_fixes(settings, findings)), range(4)))
    assert [error for outcome in outcomes for _, error in outcome] == [None] * 4
    assert finding_of(settings, "tables and functions").state == "fine"


def test_a_fix_builds_no_unwanted_index(settings: Settings, bound: Connection) -> None:
    cli(settings)("index", "build", "--method", "exact")
    bound.execute(BROKEN)
    assert [error for _, error in apply_fixes(settings, diagnose(settings))] == [None]
    assert rows(bound, "SELECT to_regclass('idx_embeddings_vector')") == [(None,)]


def test_without_the_privilege_to_compare_the_check_is_unknown(settings: Settings, bound: Connection) -> None:
    name = f"reader_{bound.info.dbname}"
    bound.execute(
        sql.SQL(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}; "
            "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ).format(role=sql.Identifier(name), schema=sql.Identifier(settings.schema_name))
    )
    try:
        assert settings.database_url
        url = make_conninfo(settings.database_url.get_secret_value(), user=name)
        found = {finding.check: finding for finding in diagnose(settings_with(settings, database_url=url))}
        assert found["tables and functions"].state == "unknown"
        assert "permission denied" in found["tables and functions"].found
        assert found["user passwords"].state == "fine"
    finally:
        bound.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(role=sql.Identifier(name)))
