"""New databases for tests, and plain SQL to fill them."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgface.gallery import Gallery

_numbers = count(1)

ODD_SCHEMA = 'Odd "gallery" schema'
"""A name that needs quoting, so that one place that forgets it fails."""


def create_database(server_url: str) -> str:
    """Create an empty database and return its URL."""
    name = f"pgface_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    return make_conninfo(server_url, dbname=name)


def drop_database(server_url: str, url: str) -> None:
    """Drop a database, and end what is connected to it."""
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


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


def one_value(gallery: Gallery, query: str) -> Any:
    """The one value that a query on the gallery gives."""
    with gallery._database.transaction() as connection:
        ((value,),) = rows(connection, query)
    return value


def contents(gallery: Gallery) -> tuple[Any, ...]:
    """All that a refused call must leave as it was: rows, and files with their names."""
    tables = ("users", "photos", "auth_tokens", "face_embeddings", "deleted_photo_files", "gallery")
    with gallery._database.transaction() as connection:
        found = [rows(connection, f"SELECT * FROM {table} ORDER BY 1") for table in tables]
    files = sorted((str(path), path.read_bytes()) for path in gallery.settings.photos_dir.rglob("*") if path.is_file())
    return repr(found), files
