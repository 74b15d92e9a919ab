"""Helpers that fill galleries by SQL, and read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings
from pgface.operations.bench.synthetic import Kind, SyntheticPeople
from pgface.system.private_folder import private_folder
from support.citus import CITUS_URL

ODD_SCHEMA = "odd_gallery_schema" if CITUS_URL else 'Odd "gallery" schema'
"""A schema name that needs quoting, so that SQL without quotes fails. On Citus a name must need none."""

in_both_schemas = pytest.mark.parametrize("schema_name", ["public", ODD_SCHEMA], ids=["public", "other-schema"])
"""Runs a test in the usual schema as well, if the schema may matter to it."""


def close_database(url: str) -> None:
    """End all connections to a database, and allow no new ones."""
    with psycopg.connect(url, dbname="postgres", autocommit=True) as server:
        name = str(conninfo_to_dict(url)["dbname"])
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


def axis(number: int, scale: float = 1.0) -> str:
    """Return a vector along one axis, as SQL text."""
    return "[" + ",".join(str(scale) if i == number else "0" for i in range(512)) + "]"


def between(first: int, second: int, cosine: float) -> str:
    """Return a unit vector in the plane of two axes, with this cosine to the first axis, as SQL text."""
    values = ["0"] * 512
    values[first] = str(cosine)
    values[second] = str((1 - cosine**2) ** 0.5)
    return f"[{','.join(values)}]"


def add_user(connection: Connection, email: str) -> int:
    row = connection.execute(
        "INSERT INTO users (name, email, password) VALUES (%s, %s, 'x') RETURNING id", (email.split("@")[0], email)
    ).fetchone()
    assert row is not None
    return int(row[0])


def add_embedding(connection: Connection, user_id: int, vector: str) -> int:
    row = connection.execute(
        "INSERT INTO face_embeddings (user_id, embedding) VALUES (%s, %s) RETURNING id", (user_id, vector)
    ).fetchone()
    assert row is not None
    return int(row[0])


def rows(connection: Connection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters or None).fetchall()


def enroll_synthetic(connection: Connection, people: int, first: int = 0, photos: int = 5) -> NDArray[np.float32]:
    """Add synthetic people and their photos to the gallery, and return their embeddings."""
    statement = (
        "INSERT INTO users (name, email, password) SELECT g, g || '@example.org', 'x' "
        "FROM generate_series(%s::integer, %s) g RETURNING id"
    )
    ids = [user_id for (user_id,) in connection.execute(statement, (first + 1, first + people)).fetchall()]
    embeddings = SyntheticPeople(Kind.CLUSTERED).embeddings(first + people)[5 * first :]
    embeddings = embeddings.reshape(people, 5, 512)[:, :photos].reshape(-1, 512)
    copy_embeddings(connection, np.repeat(ids, photos), embeddings)
    return embeddings


def everything(url: str) -> list[tuple[Any, ...]]:
    """Return the schema, name and file of every relation of the database, except PostgreSQL's own."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            """
            SELECT nspname, relname, relfilenode
            FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
            ORDER BY 1, 2
            """
        ).fetchall()


def one_value(gallery: Gallery, query: str) -> Any:
    """Return the only value of a query on the gallery."""
    with gallery.database.transaction() as connection:
        ((value,),) = rows(connection, query)
    return value


def contents(gallery: Gallery) -> tuple[Any, ...]:
    """Return the rows and files of a gallery, which a refused call must not change."""
    tables = ("users", "photos", "auth_tokens", "face_embeddings", "deleted_photo_files", "gallery")
    with gallery.database.transaction() as connection:
        found = [rows(connection, f"SELECT * FROM {table} ORDER BY 1") for table in tables]
    files = sorted((str(path), path.read_bytes()) for path in gallery.settings.photos_dir.rglob("*") if path.is_file())
    return repr(found), files


def link_pack(pack: Path, models_dir: Path) -> None:
    """Link a pack into the models folder. `pgface init` would copy it."""
    private_folder(models_dir)
    (models_dir / pack.name).symlink_to(pack, target_is_directory=True)
