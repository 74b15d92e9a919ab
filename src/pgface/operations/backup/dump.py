"""The rows of a gallery, out of PostgreSQL by pg_dump and out of its dump by pg_restore."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from psycopg import sql

from pgface.database.embedded.cluster import ENVIRONMENT
from pgface.errors import ArchiveError, PostgresProgramError
from pgface.operations.backup.programs import Program, client_environment, reason, running

_READ_AT_ONCE = 256 * 1024
_LONGEST_LINE = 64 * 1024 * 1024
# pgface's own tables and columns need no quotes; whatever does is somebody else's.
_COPY = re.compile(rb'COPY (?:"(?:[^"]|"")*"|[^".]+)\.(\S+|"(?:[^"]|"")*") \((.*)\) FROM stdin;\n')
_IDENTIFIER = re.compile(r'"(?:[^"]|"")*"|[^", ]+')
_END = b"\\.\n"


class UnreadableDumpError(ArchiveError):
    """The archive's dump cannot be read by pg_restore."""


def dump_blocks(
    program: Program, url: str, *, schema_name: str, snapshot: str, tables: tuple[str, ...] | None = None
) -> Iterator[bytes]:
    """Dump a schema as it is in a snapshot; gives the dump's bytes.

    Args:
        program: pg_dump.
        url: where PostgreSQL is.
        schema_name: what to dump.
        snapshot: of a transaction that is held open by the caller.
        tables: only the rows of these tables; the whole schema if not given.

    Raises:
        PostgresProgramError: pg_dump could not do it.

    """
    # The least compression: numbers as text shrink by half at once, and no further in five times the time.
    options = ["--format=custom", "--compress=1", "--encoding=UTF8", "--no-password", f"--snapshot={snapshot}"]
    options.append("--no-unlogged-table-data")  # logins by face that are under way
    if tables is None:
        # As a pattern a name in quotes means itself.
        options.append(f"--schema={_quoted(schema_name)}")
    else:
        options += ["--data-only", *(f"--table={_quoted(schema_name)}.{_quoted(table)}" for table in tables)]
    with running(program, *options, environment=client_environment(url)) as (process, complaints):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while block := process.stdout.read(_READ_AT_ONCE):
            yield block
        if process.wait() != 0:
            raise PostgresProgramError(f"pg_dump could not read the gallery: {reason(complaints)}.")


@dataclass(frozen=True, slots=True)
class DumpedTable:
    """A table's rows in a dump."""

    name: str
    columns: tuple[str, ...]
    blocks: Iterator[bytes]
    """Rows as lines of COPY's text format, many at once; to be read before the next table."""


def dumped_tables(program: Program, blocks: Iterator[bytes]) -> Iterator[DumpedTable]:
    """The rows that are in a dump, table by table.

    pg_restore unpacks it and never connects to a server: nothing that a dump says is executed.

    Args:
        program: pg_restore.
        blocks: the dump's bytes.

    Raises:
        UnreadableDumpError: pg_restore cannot read it; or whatever reading the blocks raises.

    """
    options = ("--data-only", "--file=-")
    with running(program, *options, environment=dict(ENVIRONMENT), stdin=subprocess.PIPE) as (process, complaints):
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        with ThreadPoolExecutor(1, "pgface-feeder") as executor:
            feeding = executor.submit(_feed, blocks, process.stdin)
            try:
                yield from _parsed(process.stdout)
                code = process.wait()
            finally:
                process.kill()
        feeding.result()
        if code != 0:
            if "unsupported version" in reason(complaints):
                raise PostgresProgramError(
                    f"The archive's dump was made by a newer PostgreSQL than pg_restore {program.version} knows; "
                    "install newer client programs of PostgreSQL, or add their folder to PATH."
                )
            raise UnreadableDumpError(f"This archive's dump cannot be read by pg_restore: {reason(complaints)}.")


def _feed(blocks: Iterator[bytes], sink: IO[bytes]) -> None:
    """Write blocks into a program, while its output is read."""
    with suppress(BrokenPipeError), sink:  # if the program ends early, it has said why
        for block in blocks:
            sink.write(block)


def _parsed(output: IO[bytes]) -> Iterator[DumpedTable]:
    while line := output.readline(_LONGEST_LINE):
        if found := _COPY.fullmatch(line):
            columns = tuple(_unquoted(name) for name in _IDENTIFIER.findall(found[2].decode()))
            rows = _rows(output)
            yield DumpedTable(_unquoted(found[1].decode()), columns, rows)
            for _ in rows:
                pass


def _rows(output: IO[bytes]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    while (line := output.readline(_LONGEST_LINE)) != _END:
        if not line.endswith(b"\n"):
            return  # it ends too early, as its exit code will tell
        lines.append(line)
        size += len(line)
        if size >= _READ_AT_ONCE:
            yield b"".join(lines)
            lines.clear()
            size = 0
    if lines:
        yield b"".join(lines)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
