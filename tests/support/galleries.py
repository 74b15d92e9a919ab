"""Plain SQL to fill the galleries of tests, and to look into them."""

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

ODD_SCHEMA = 'Odd "gallery" schema'
"""A name that needs quoting, so that one place that forgets it fails."""

in_both_schemas = pytest.mark.parametrize("schema_name", ["public", ODD_SCHEMA], ids=["public", "other-schema"])
"""Runs a test in the schema that most people have as well; for tests whose subject is where things are."""


def close_database(url: str) -> None:
    """End everybody's connections to a database, and let nobody connect again."""
    with psycopg.connect(url, dbname="postgres", autocommit=True) as server:
        name = str(conninfo_to_dict(url)["dbname"])
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


def axis(number: int, scale: float = 1.0) -> str:
    """A vector along one axis, as SQL text."""
    return "[" + ",".join(str(scale) if i == number else "0" for i in range(512)) + "]"


def between(first: int, second: int, cosine: float) -> str:
    """A unit vector whose cosine with the first axis is given, in the plane of two axes."""
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
    """Put synthetic people into the gallery, by plain COPY; gives their embeddings."""
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
    """Every relation that is not PostgreSQL's own, with its schema."""
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
    """The one value that a query on the gallery gives."""
    with gallery.database.transaction() as connection:
        ((value,),) = rows(connection, query)
    return value


def contents(gallery: Gallery) -> tuple[Any, ...]:
    """All that a refused call must leave as it was: rows, and files with their names."""
    tables = ("users", "photos", "auth_tokens", "face_embeddings", "deleted_photo_files", "gallery")
    with gallery.database.transaction() as connection:
        found = [rows(connection, f"SELECT * FROM {table} ORDER BY 1") for table in tables]
    files = sorted((str(path), path.read_bytes()) for path in gallery.settings.photos_dir.rglob("*") if path.is_file())
    return repr(found), files


def link_pack(pack: Path, models_dir: Path) -> None:
    """Let a pack be found among the models, without the copy that `pgface init` makes: all tests load it once."""
    private_folder(models_dir)
    (models_dir / pack.name).symlink_to(pack, target_is_directory=True)
