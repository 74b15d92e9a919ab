"""The memory that a build may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgface.database.sql import queries
from pgface.errors import IndexNotBuiltError
from pgface.search.vector_index.definition import Definition

_MEBI = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BuildMemory:
    """The memory of one build, in bytes."""

    needed: int
    """The memory that the build needs, calculated from pgvector's data structures."""
    given: int
    """`maintenance_work_mem` for this build."""


def set_build_memory(
    connection: psycopg.Connection, definition: Definition, rows: int, max_bytes: int | None
) -> BuildMemory:
    """Raise this session's `maintenance_work_mem` to what the build of `idx_embeddings_vector` needs, within a bound.

    Args:
        connection: the session of the build.
        definition: the index to build.
        rows: number of embeddings in the gallery.
        max_bytes: the bound. For the default, see `raise_build_memory`.

    Raises:
        IndexNotBuiltError: pgvector would refuse to build the index with so little memory.

    """
    memory = raise_build_memory(connection, definition.memory(rows), max_bytes)
    if definition.method == "ivfflat" and memory.needed > memory.given:
        raise IndexNotBuiltError(
            f"IVFFlat needs {megabytes(memory.needed)} of memory to learn {definition.lists} lists, and may use "
            f"{megabytes(memory.given)}. Nothing was changed. If the server's machine has that much free memory, set "
            f"`memory` to {megabytes(memory.needed)}. Otherwise choose fewer lists."
        )
    return memory


def raise_build_memory(connection: psycopg.Connection, needed: int, max_bytes: int | None = None) -> BuildMemory:
    """Raise this session's `maintenance_work_mem` to what a build needs, within a bound.

    The bound is the larger of the server's own setting and `shared_buffers`. The administrator has reserved that memory
    for PostgreSQL. A client cannot see how much more memory the server has.

    Args:
        connection: the session of the build.
        needed: bytes.
        max_bytes: use this bound instead.

    """
    with connection.cursor(row_factory=dict_row) as cursor:
        (server,) = cursor.execute(queries()["build_memory"]).fetchall()
    bound = max_bytes or max(server["maintenance_work_mem"], server["shared_buffers"])
    given = min(max(needed, server["maintenance_work_mem"]), bound)
    connection.execute(queries()["set_build_memory"], {"kilobytes": str(given // 1024)})
    return BuildMemory(needed, given)


def megabytes(size: Any) -> str:
    """Format a size for PostgreSQL's settings, rounded up."""
    return f"{-(-int(size) // _MEBI)}MB"
