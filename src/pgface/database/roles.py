"""Creates roles with fewer privileges than the gallery's owner: one for the service, and one that only searches."""

from __future__ import annotations

from typing import Final, LiteralString

import psycopg
from psycopg import sql

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.job_queue import install_queue_if_possible, queue_schema
from pgface.errors import DatabaseError

SERVICE: Final = "pgface_service"
READER: Final = "pgface_reader"
"""The default names of the two roles."""
_OWNER_TABLES: Final = ("pgface_migrations", "gallery", "calibrations", "confidence_anchors", "administrators")
"""Tables that only the owner writes: the schema's version, the model, the thresholds, the administrators."""
_SEARCH_TABLES: Final = (
    "photos",
    "face_embeddings",
    "contested_faces",
    "user_templates",
    "template_bits",
    "stale_templates",
    "gallery_search",
)
_SELECT_USERS: Final = "SELECT (id, name, email, created_at, external_id, labels, is_person)"
"""The privilege to read what a search returns and filters by."""
_RESTRICTED: Final[dict[str, tuple[LiteralString, ...]]] = {
    # Functions write the rest: passwords, tokens, keys, and rows of the audit log.
    "users": (
        _SELECT_USERS,
        "SELECT (metadata)",
        "INSERT (name, email, password, external_id, labels, metadata, is_person)",
        "UPDATE (name, external_id, labels, metadata, is_person)",
        "DELETE",
    ),
    "auth_tokens": (
        "SELECT (id, user_id, confidence, created_at, expires_at, is_active, password_given)",
        "DELETE",
    ),
    "api_keys": ("SELECT (id, name, scopes, created_at, last_used_at, revoked_at, all_galleries)",),
    "compreface_keys": ("SELECT",),
    "galleries": ("SELECT",),
    "gallery_script": (),
    "access_keys": ("SELECT (access_key_id, key_id)",),
    "audit_log": ("SELECT",),
    "gallery_locks": ("SELECT", "UPDATE"),
    # A crop never changes.
    "photo_crops": ("SELECT", "INSERT", "DELETE"),
    # Only the owner changes the model. Triggers delete rows with the owner's rights.
    "reembedding": (),
    # Functions and triggers write events.
    "gallery_events": ("SELECT",),
    "event_stream": ("SELECT",),
    "reembedded_faces": (),
}
"""The service's privileges for tables in which it may not do everything."""
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
    "add_access_key",
    "find_access_key",
    "record_event",
    "prune_audit_log",
    "record_searches",
    "record_merge",
    "prune_events",
    "create_gallery",
    "register_gallery",
    "rename_gallery",
    "delete_gallery",
    "gallery_sizes",
    "open_all_galleries",
    "unfinished_jobs",
)
"""Functions that run with the owner's privileges and check their arguments. No other role may call them."""


def require_own(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Check that a role has no privileges for tables of another schema or database. Roles belong to the whole server.

    The schemas of the galleries in this gallery's registry are not others.

    Raises:
        DatabaseError: it has such privileges, so that its password would open both.

    """
    with wrap_psycopg_errors():
        own_schemas = [schema_name, queue_schema(schema_name), *_registered_schemas(connection, schema_name)]
        elsewhere = connection.execute(
            """
            SELECT d.datname
            FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid
            WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = %s AND s.classid = 'pg_class'::regclass
                AND NOT (
                    d.datname = current_database()
                    AND s.objid IN (
                        SELECT c.oid FROM pg_class c
                        JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = ANY (%s)
                    )
                )
            LIMIT 1
            """,
            (role, own_schemas),
        ).fetchone()
    if elsewhere is not None:
        raise DatabaseError(
            f"The role {role} has rights to other tables on this server, in the database {elsewhere[0]}, and its "
            "password would open both. Give this gallery roles with other names."
        )


def grant_service(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Create a role for the service, which can enroll, identify, verify, log users in and out, and write the audit log.

    The role cannot change the schema, the model, the thresholds, the administrators, or rows of the audit log. It
    cannot read passwords, tokens or keys. It needs a user's password to begin a session with a password, and an
    administrator's token to create keys. An existing role gets exactly these privileges. Call this as the gallery's
    owner, and again after an upgrade.

    Raises:
        DatabaseError: PostgreSQL refused. Nothing was changed.

    """
    with wrap_psycopg_errors(), connection.transaction():
        _begin(connection, schema_name, role)
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename"
        for (table,) in connection.execute(tables, (schema_name,)).fetchall():
            every: tuple[LiteralString, ...] = ("SELECT, INSERT, UPDATE, DELETE",)
            for privilege in ("SELECT",) if table in _OWNER_TABLES else _RESTRICTED.get(table, every):
                _run(connection, f"GRANT {privilege} ON {{schema}}.{{table}} TO {{role}}", schema_name, role, table)
        _run(connection, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}", schema_name, role)
        for function in _FUNCTIONS:
            _run(connection, f"GRANT EXECUTE ON FUNCTION {{schema}}.{function} TO {{role}}", schema_name, role)
        install_queue_if_possible(connection, schema_name)
        _grant_queue(connection, queue_schema(schema_name), role)
        _copy_rights(connection, schema_name)


def grant_reader(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Create a role that can only search, with `find_similar_faces` and `verify_face`.

    An existing role gets exactly these privileges. Call this as the gallery's owner.

    Raises:
        DatabaseError: PostgreSQL refused. Nothing was changed.

    """
    with wrap_psycopg_errors(), connection.transaction():
        _begin(connection, schema_name, role)
        _run(connection, f"GRANT {_SELECT_USERS} ON {{schema}}.users TO {{role}}", schema_name, role)
        for table in (*_SEARCH_TABLES, *_OWNER_TABLES):
            _run(connection, "GRANT SELECT ON {schema}.{table} TO {role}", schema_name, role, table)
        _copy_rights(connection, schema_name)


def _grant_queue(connection: psycopg.Connection, queue: str, role: str) -> None:
    """Let the service put jobs into the queue and take them, if there is one."""
    if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (queue,)).fetchone() is None:
        return
    for privilege in (
        "USAGE ON SCHEMA {schema}",
        "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}",
        "USAGE ON ALL SEQUENCES IN SCHEMA {schema}",
    ):
        _run(connection, f"GRANT {privilege} TO {{role}}", queue, role)


def _registered_schemas(connection: psycopg.Connection, schema_name: str) -> list[str]:
    """List the schemas of the galleries in this gallery's registry."""
    registry = sql.SQL("SELECT schema_name FROM {}.galleries WHERE database_url IS NULL").format(
        sql.Identifier(schema_name)
    )
    return [name for (name,) in connection.execute(registry).fetchall()]


def _copy_rights(connection: psycopg.Connection, schema_name: str) -> None:
    """Give all roles the same rights in the galleries of the registry."""
    copy = sql.SQL("SELECT {}.copy_gallery_rights(%s)").format(sql.Identifier(schema_name))
    for registered in _registered_schemas(connection, schema_name):
        connection.execute(copy, (registered,))


def _begin(connection: psycopg.Connection, schema_name: str, role: str) -> None:
    """Create the role, or revoke all its privileges, and let it use the schema."""
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        _run(connection, "CREATE ROLE {role} LOGIN", schema_name, role)
    for kind in ("TABLES", "SEQUENCES", "ROUTINES"):
        _run(connection, f"REVOKE ALL ON ALL {kind} IN SCHEMA {{schema}} FROM {{role}}", schema_name, role)
    _run(connection, "REVOKE ALL ON SCHEMA {schema} FROM {role}", schema_name, role)
    _run(connection, "GRANT USAGE ON SCHEMA {schema} TO {role}", schema_name, role)


def _run(
    connection: psycopg.Connection, statement: LiteralString, schema_name: str, role: str, table: str = "-"
) -> None:
    names = {"schema": schema_name, "role": role, "table": table}
    connection.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
