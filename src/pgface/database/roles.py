"""Makes roles with fewer rights than the gallery's owner: one for a service, and one that only searches."""

from __future__ import annotations

from typing import Final, LiteralString

import psycopg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.errors import DatabaseError

SERVICE: Final = "pgface_service"
READER: Final = "pgface_reader"
"""The default names of the two roles."""
_OF_THE_OWNER: Final = ("pgface_migrations", "gallery", "calibrations", "confidence_anchors", "administrators")
"""Tables that the service only reads: the schema's version, the model, the thresholds, the administrators."""
_SEARCHED: Final = (
    "photos",
    "face_embeddings",
    "contested_faces",
    "user_templates",
    "template_bits",
    "stale_templates",
    "gallery_search",
)
_USERS_COLUMNS: Final = ("id", "name", "email", "created_at")
"""All but the password."""
_GUARDED: Final[dict[str, tuple[LiteralString, ...]]] = {
    # The functions below write the rest: passwords, tokens, keys, and rows of the audit log.
    "users": ("SELECT (id, name, email, created_at)", "INSERT (name, email, password)", "UPDATE (name)", "DELETE"),
    "auth_tokens": (
        "SELECT (id, user_id, confidence, created_at, expires_at, is_active, password_given)",
        "DELETE",
    ),
    "api_keys": ("SELECT (id, name, scopes, created_at, last_used_at, revoked_at)",),
    "audit_log": ("SELECT",),
    "gallery_locks": ("SELECT", "UPDATE"),
}
"""The service's rights to tables in which it may not do everything."""
_FUNCTIONS: Final[tuple[LiteralString, ...]] = (
    "find_session",
    "begin_session",
    "end_sessions",
    "find_password",
    "confirm_password",
    "set_password",
    "password_kinds",
    "has_password",
    "find_api_key",
    "create_api_key",
    "revoke_api_key",
    "record_event",
    "prune_audit_log",
)
"""Functions that run with the owner's rights and check what they are given. No other role may call them."""


def require_own(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Check that a role has no rights to tables of another schema or database. A role belongs to the whole server.

    Raises:
        DatabaseError: it has such rights, so that its password would open both.

    """
    with wrap_psycopg_errors():
        elsewhere = connection.execute(
            """
            SELECT d.datname
            FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid
            WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = %s AND s.classid = 'pg_class'::regclass
                AND NOT (
                    d.datname = current_database()
                    AND s.objid IN (SELECT oid FROM pg_class WHERE relnamespace = quote_ident(%s)::regnamespace)
                )
            LIMIT 1
            """,
            (role, schema_name),
        ).fetchone()
    if elsewhere is not None:
        raise DatabaseError(
            f"The role {role} has rights to other tables on this server, in the database {elsewhere[0]}, and its "
            "password would open both. Give this gallery roles with other names."
        )


def grant_service(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Grant a role what a service needs: to enroll, identify, verify, log people in and out, and add to the audit log.

    It cannot change the schema, the model, the thresholds or the administrators, nor change or delete a row of the
    audit log. It reads no password, token or key. It begins a login with a password only by that password, and makes
    keys only for an administrator who is logged in. It makes the role if there is none. Run it again after an upgrade.

    Args:
        connection: of the gallery's owner, who may make roles.
        schema_name: the gallery's.
        role: its name.

    Raises:
        DatabaseError: PostgreSQL refused. Nothing was changed.

    """
    with wrap_psycopg_errors(), connection.transaction():
        _begin(connection, schema_name, role)
        for (table,) in _tables(connection, schema_name):
            every: tuple[LiteralString, ...] = ("SELECT, INSERT, UPDATE, DELETE",)
            for rights in ("SELECT",) if table in _OF_THE_OWNER else _GUARDED.get(table, every):
                _run(connection, f"GRANT {rights} ON {{schema}}.{{table}} TO {{role}}", schema_name, role, table=table)
        _run(connection, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}", schema_name, role)
        for function in _FUNCTIONS:
            _run(connection, f"GRANT EXECUTE ON FUNCTION {{schema}}.{function} TO {{role}}", schema_name, role)


def grant_reader(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Grant a role what it needs to search: `find_similar_faces`, `verify_face` and the tables that they read.

    Args:
        connection: of the gallery's owner, who may make roles.
        schema_name: the gallery's.
        role: its name. It makes the role if there is none.

    Raises:
        DatabaseError: PostgreSQL refused. Nothing was changed.

    """
    with wrap_psycopg_errors(), connection.transaction():
        _begin(connection, schema_name, role)
        columns = sql.SQL(", ").join(map(sql.Identifier, _USERS_COLUMNS))
        _run(connection, "GRANT SELECT ({columns}) ON {schema}.users TO {role}", schema_name, role, columns=columns)
        for table in (*_SEARCHED, *_OF_THE_OWNER):
            _run(connection, "GRANT SELECT ON {schema}.{table} TO {role}", schema_name, role, table=table)


def _begin(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Make the role, or revoke all rights that it has, so that it starts without any."""
    there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if there is None:
        _run(connection, "CREATE ROLE {role} LOGIN", schema_name, role)
    for kind in ("TABLES", "SEQUENCES", "ROUTINES"):
        _run(connection, f"REVOKE ALL ON ALL {kind} IN SCHEMA {{schema}} FROM {{role}}", schema_name, role)
    _run(connection, "REVOKE ALL ON SCHEMA {schema} FROM {role}", schema_name, role)
    _run(connection, "GRANT USAGE ON SCHEMA {schema} TO {role}", schema_name, role)


def _tables(connection: psycopg.Connection, schema_name: str) -> list[tuple[str]]:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename"
    return connection.execute(tables, (schema_name,)).fetchall()


def _run(
    connection: psycopg.Connection,
    statement: LiteralString,
    schema_name: str,
    role: str,
    *,
    table: str = "",
    columns: sql.Composable | None = None,
) -> None:
    names = {"schema": sql.Identifier(schema_name), "role": sql.Identifier(role), "table": sql.Identifier(table or "-")}
    connection.execute(sql.SQL(statement).format(**names, columns=columns or sql.SQL("")))
