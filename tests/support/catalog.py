"""What a gallery's schema consists of, for comparison with another gallery's."""

from __future__ import annotations

import re
from collections.abc import Collection

import psycopg
from psycopg import sql

_CATALOG = """
    WITH home AS (SELECT quote_ident(current_schema())::regnamespace AS schema),
    relations AS (
        SELECT c.*, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS acl_kind
        FROM pg_class c JOIN home ON home.schema = c.relnamespace
    ),
    found AS (
        SELECT 'routine' AS kind, p.proname::text AS name, pg_get_functiondef(p.oid) AS definition,
            obj_description(p.oid, 'pg_proc') AS comment, coalesce(p.proacl, acldefault('f', p.proowner)) AS rights
        FROM pg_proc p JOIN home ON home.schema = p.pronamespace
        WHERE p.oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'e')
        UNION ALL
        SELECT 'relation', relname, relkind::text, obj_description(oid, 'pg_class'),
            coalesce(relacl, acldefault(acl_kind, relowner))
        FROM relations
        UNION ALL
        SELECT 'column', c.relname || '.' || a.attname,
            concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)),
            col_description(c.oid, a.attnum), a.attacl
        FROM relations c
        JOIN pg_attribute a ON a.attrelid = c.oid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind <> 'i' AND a.attnum > 0
        UNION ALL
        SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(k.oid), NULL, NULL
        FROM pg_constraint k JOIN home ON home.schema = k.connamespace
        UNION ALL
        SELECT 'index', relname, pg_get_indexdef(oid), NULL, NULL FROM relations WHERE relkind = 'i'
        UNION ALL
        SELECT 'trigger', t.tgname, pg_get_triggerdef(t.oid), NULL, NULL
        FROM pg_trigger t JOIN relations c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal
    )
    SELECT kind, name, definition, comment, ARRAY(SELECT item::text FROM unnest(rights) item ORDER BY 1)::text
    FROM found
"""


def catalog(url: str, schema_name: str, *, without: Collection[str]) -> set[tuple[str | None, ...]]:
    """List everything in a schema: its kind, name, definition, comment and rights. The schema's name is left out."""
    schema = sql.Identifier(schema_name)
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("SET search_path TO {}, public").format(schema))
        found = connection.execute(_CATALOG.encode()).fetchall()
    names = rf"({re.escape(schema.as_string())}|\b{re.escape(schema_name)})\."
    # The column that a CASE gets from a function's name, before the function has its final name.
    column = r" AS refuse_zero_vector\w*"
    left_out = re.compile(rf" SET search_path TO .*\n|{column}|{names}")
    return {tuple(text and left_out.sub("", text) for text in row) for row in found if row[1] not in without}
