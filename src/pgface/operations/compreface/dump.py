"""Reads a dump of CompreFace's PostgreSQL into temporary tables, which end with the session, even after kill -9.

Nothing in a dump is executed, because a dump can contain any SQL and any command of psql. Only the rows of the five
tables that a migration needs are taken from it, by COPY.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import psycopg
from psycopg import sql

from pgface.database.embedded.cluster import ENVIRONMENT
from pgface.database.errors import wrap_psycopg_errors
from pgface.errors import DatabaseError, MigrationError
from pgface.operations.backup.programs import find_pg_restore, reason, running
from pgface.operations.compreface.source import TABLES, Source

_CUSTOM, _GZIP = b"PGDMP", b"\x1f\x8b"
_COPY = re.compile(
    rb"""COPY (?:"?public"?\."?(%b)"?|\S+|\S*".*) \((.*)\) FROM stdin;\r?\n""" % "|".join(TABLES).encode()
)
_ENDS = (b"\\.\n", b"\\.\r\n")
_MAX_LINE_BYTES = 1024 * 1024
"""The longest line of a table without images. An embedding of 512 numbers takes about 12,000 bytes."""
_MAX_GROWTH = 20
"""The rows of a dump may have this many times its size, plus `_MAX_GROWTH_BYTES`. Photos and numbers shrink by half."""
_MAX_GROWTH_BYTES = 64 * 1024 * 1024
_NULL = rb"\N"
_TYPES: Final = {"id": "uuid", "subject_id": "uuid", "img_id": "uuid", "content": "bytea"}
_NUMBERED: Final = ("app", "model")
"""The tables whose ids are numbers."""


@contextmanager
def loaded_dump(connection: psycopg.Connection[Any], file: Path, *, max_image_bytes: int) -> Iterator[Source]:
    """Load a dump of pg_dump in any of its formats: plain, custom, directory or tar.

    Args:
        connection: a session of its own, outside a transaction. The tables exist until it ends.
        file: the dump.
        max_image_bytes: the contents of larger images are left out. Their examples have no image then.

    Raises:
        MigrationError: the file is not a dump of CompreFace, is damaged, or its rows are suspiciously large.
        PostgresProgramError: pg_restore is missing, or cannot read the dump.
        DatabaseAccessError: this user may not create temporary tables.

    """
    limit = _Limit(file, _size(file) * _MAX_GROWTH + _MAX_GROWTH_BYTES)
    found: set[str] = set()
    try:
        with wrap_psycopg_errors():
            for table, columns in TABLES.items():
                _create(connection, table, columns)
            with _script(file) as lines:
                for table, fields in _tables(lines):
                    found.add(table)
                    _load(connection, table, _rows(lines, table, fields, file, limit, max_image_bytes))
    except DatabaseError as error:
        if isinstance(error.__cause__, psycopg.errors.DataError | psycopg.errors.IntegrityError):
            raise MigrationError(f"{file}: PostgreSQL refuses a row of this dump. {error}") from error
        raise
    if missing := [table for table in TABLES if table not in found]:
        raise MigrationError(
            f"{file}: this dump has no rows of the table {missing[0]}. Give a dump by pg_dump of the database of "
            "CompreFace 0.6 or later, with its data and without the option for INSERT commands."
        )
    with wrap_psycopg_errors():
        connection.execute("CREATE INDEX ON pg_temp.embedding (subject_id)")
        connection.execute("ANALYZE pg_temp.subject, pg_temp.embedding, pg_temp.img")
    yield Source(connection, "pg_temp")


class _Limit:
    """Refuses a dump whose rows are much larger than itself."""

    def __init__(self, file: Path, max_bytes: int) -> None:
        self._file = file
        self._left = max_bytes

    def spend(self, size: int) -> None:
        """Count bytes that were read.

        Raises:
            MigrationError: there were too many.

        """
        self._left -= size
        if self._left < 0:
            raise MigrationError(
                f"{self._file}: the rows of this dump are more than {_MAX_GROWTH} times as large as the file, so it "
                "was made to fill the disk. Migrate from CompreFace's database instead."
            )


def _size(file: Path) -> int:
    try:
        if file.is_dir():
            return sum(one.stat().st_size for one in file.iterdir())
        return file.stat().st_size
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> MigrationError:
    return MigrationError(f"{file}: it cannot be read ({error.strerror}). Give a URL, or a dump by pg_dump.")


@contextmanager
def _script(file: Path) -> Iterator[IO[bytes]]:
    """Open a dump as the script that pg_restore would run."""
    try:
        with (file / "toc.dat" if file.is_dir() else file).open("rb") as stream:
            start = stream.read(512)
            if not file.is_dir() and not start.startswith((_CUSTOM, b"toc.dat\0")):
                if start.startswith(_GZIP):
                    raise MigrationError(f"{file}: it is compressed by gzip. Decompress it first.")
                stream.seek(0)
                yield stream
                return
    except OSError as error:
        raise _unreadable(file, error) from error
    program = find_pg_restore(embedded=True)
    tables = [f"--table={table}" for table in TABLES]
    options = ("--data-only", "--schema=public", *tables, "--file=-", str(file.absolute()))
    with running(program, *options, environment=dict(ENVIRONMENT)) as (process, messages):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield process.stdout
        if process.wait() != 0:
            raise MigrationError(f"{file}: pg_restore {program.version} cannot read it: {reason(messages)}.")


def _create(connection: psycopg.Connection[Any], table: str, columns: tuple[str, ...]) -> None:
    types = {
        name: "bigint" if table in _NUMBERED and name.endswith("id") else _TYPES.get(name, "text") for name in columns
    }
    defined = sql.SQL(", ").join(
        sql.SQL("{} {}" + (" PRIMARY KEY" if name == "id" else "")).format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in types.items()
    )
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({})").format(sql.Identifier(table), defined))


def _tables(lines: IO[bytes]) -> Iterator[tuple[str, list[str]]]:
    """Give the tables of a script with the columns of their rows. Read these before the next table."""
    while line := lines.readline(_MAX_LINE_BYTES):
        if found := _COPY.fullmatch(line):
            if found[1]:
                yield found[1].decode(), found[2].decode().replace('"', "").split(", ")
            else:
                _skip_rows(lines)


def _skip_rows(lines: IO[bytes]) -> None:
    """Skip the rows of another table, which may look like a command."""
    starts_line = True
    while line := lines.readline(_MAX_LINE_BYTES):
        if starts_line and line in _ENDS:
            return
        starts_line = line.endswith(b"\n")


def _load(connection: psycopg.Connection[Any], table: str, rows: Iterator[bytes]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, TABLES[table]))
    statement = sql.SQL("COPY pg_temp.{} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write(row)


def _rows(
    lines: IO[bytes], table: str, fields: list[str], file: Path, limit: _Limit, max_image_bytes: int
) -> Iterator[bytes]:
    """Give the rows of a table, with only the columns that are needed."""
    missing = [name for name in TABLES[table] if name not in fields]
    if missing:
        raise MigrationError(f"{file}: its table {table} has no column {missing[0]}, so it is not of CompreFace.")
    places = [fields.index(name) for name in TABLES[table]]
    # The text of an image has two digits for each byte.
    longest = 2 * max_image_bytes + _MAX_LINE_BYTES if table == "img" else _MAX_LINE_BYTES
    while (line := lines.readline(longest)) not in _ENDS:
        limit.spend(len(line))
        if not line.endswith(b"\n"):
            line = _without_image(lines, line, table, fields, file, limit)
        values = line.rstrip(b"\r\n").split(b"\t")
        if len(values) != len(fields):
            raise MigrationError(f"{file}: a row of its table {table} is damaged. Make another dump.")
        yield b"\t".join(values[place] for place in places) + b"\n"


def _without_image(lines: IO[bytes], start: bytes, table: str, fields: list[str], file: Path, limit: _Limit) -> bytes:
    """Return the row of an image that is too large, without the image. Its id comes first in a dump of CompreFace."""
    part = start
    while part and not part.endswith(b"\n"):
        part = lines.readline(_MAX_LINE_BYTES)
        limit.spend(len(part))
    if not part:
        raise MigrationError(f"{file}: it is cut off in its table {table}. Make another dump.")
    if table != "img" or fields[0] != "id" or len(fields) != len(TABLES["img"]):
        raise MigrationError(
            f"{file}: a row of its table {table} has {len(start):,} bytes or more. Nothing was written."
        )
    return start.partition(b"\t")[0] + b"\t" + _NULL + b"\n"
