"""Reads the old SQLite file. It is copied first, because opening a database can write files next to it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pgface.errors import MigrationError

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("id", "name", "email", "password", "created_at"),
    "photos": ("id", "user_id", "filename", "filepath", "width", "height", "created_at"),
    "auth_tokens": ("id", "user_id", "token", "confidence", "created_at", "expires_at", "is_active"),
}
"""The tables and columns of the specification."""
_REQUIRED = {"users": {"id"}, "photos": {"id", "user_id"}, "auth_tokens": {"user_id", "token"}}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OldTables:
    """The rows of the old tables, with the columns that the specification has too."""

    users: tuple[Row, ...]
    photos: tuple[Row, ...]
    auth_tokens: tuple[Row, ...]
    left_out: tuple[str, ...]
    """Columns and tables that the specification does not have."""


def read_sqlite(file: Path) -> OldTables:
    """Read the tables `users`, `photos` and `auth_tokens`.

    Only the table `users` is required, and in each table only the ids and the token.

    Raises:
        MigrationError: the file cannot be read, is damaged or not a SQLite file, or has no users.

    """
    with _copied(file) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if "users" not in tables:
            raise MigrationError(f"{file}: it has no table users. Give the SQLite file of the old application.")
        left_out = [name for name in tables if name not in TABLES and not name.startswith("sqlite_")]
        rows: dict[str, tuple[Row, ...]] = {}
        for table, columns in TABLES.items():
            present = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            missing = _REQUIRED[table] - set(present)
            if present and missing:
                raise MigrationError(f"{file}: its table {table} has no column {min(missing)}. Add it to a copy.")
            left_out += [f"{table}.{name}" for name in present if name not in columns]
            rows[table] = tuple(_rows(connection, table, [name for name in columns if name in present]))
    return OldTables(rows["users"], rows["photos"], rows["auth_tokens"], tuple(left_out))


def _rows(connection: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[Row]:
    if not columns:
        return
    order = "id" if "id" in columns else "rowid"
    # The names of tables and columns come from this module, so SQL injection is impossible.
    for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"):  # noqa: S608
        yield dict(zip(columns, row, strict=True))


@contextmanager
def _copied(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with tempfile.TemporaryDirectory(prefix="pgface-") as folder:
            copy = Path(folder) / "old.db"
            shutil.copyfile(file, copy)
            log = file.with_name(f"{file.name}-wal")  # committed transactions that are not in the main file yet
            if log.exists():
                shutil.copyfile(log, f"{copy}-wal")
            with closing(sqlite3.connect(copy)) as connection:
                connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
                if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError
                yield connection
    except OSError as error:
        raise MigrationError(f"{file}: it cannot be read ({error.strerror}). Give the old SQLite file.") from error
    except sqlite3.Error as error:
        raise MigrationError(
            f"{file}: it is damaged, truncated, or not a SQLite file. Stop the old application and copy it again."
        ) from error
