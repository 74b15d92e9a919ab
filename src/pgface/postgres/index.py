"""The index of the specification's name, taken away for bulk loading and built again afterwards."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgface.postgres.errors import translated
from pgface.schema import queries

_DEFAULT = "CREATE INDEX idx_embeddings_vector ON face_embeddings USING hnsw (embedding vector_cosine_ops)"


def drop_vector_index(connection: psycopg.Connection) -> str:
    """Drop the index in the transaction under way, and return the statement that makes it again.

    Loading with an HNSW index in place runs at a hundredth of the speed. Identification scans exactly and does
    not need it.
    """
    definition = _DEFAULT
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(queries()["vector_index"]):
            definition = row["definition"]
    connection.execute("DROP INDEX IF EXISTS idx_embeddings_vector")
    return definition


def build_vector_index(connection: psycopg.Connection, definition: str = _DEFAULT) -> None:
    """Build the index while others go on reading and writing; a broken one of an earlier try goes first.

    Args:
        connection: in autocommit mode, because PostgreSQL builds concurrently only outside transactions.
        definition: a statement that `drop_vector_index` returned.

    """
    with translated():
        with connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(queries()["vector_index"]).fetchone()
        if found is not None and found["valid"]:
            return
        connection.execute("DROP INDEX IF EXISTS idx_embeddings_vector")
        concurrently = definition.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
        connection.execute(sql.SQL(concurrently))  # as PostgreSQL itself renders the index
