"""Dump the rows of a gallery with pg_dump, and read them from the dump with pg_restore."""

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

_BATCH_BYTES = 256 * 1024
_MAX_LINE_BYTES = 64 * 1024 * 1024
# Names of pgface's own tables and columns need no quotes, but names of other tables may.
_COPY = re.compile(rb'COPY (?:"(?:[^"]|"")*"|[^".]+)\.(\S+|"(?:[^"]|"")*") \((.*)\) FROM stdin;\n')
_IDENTIFIER = re.compile(r'"(?:[^"]|"")*"|[^", ]+')
_END = b"\\.\n"


class UnreadableDumpError(ArchiveError):
    """pg_restore cannot read the archive's dump."""


def dump_blocks(
    program: Program,
    url: str,
    *,
    schema_name: str,
    snapshot: str,
    tables: tuple[str, ...] | None = None,
    without_rows: tuple[str, ...] = (),
) -> Iterator[bytes]:
    """Dump a schema as it is in a snapshot. Gives the dump's bytes.

    Args:
        program: pg_dump.
        url: the database.
        schema_name: the schema to dump.
        snapshot: the name of a snapshot, whose transaction the caller keeps open.
        tables: dump only the rows of these tables. The default is the whole schema.
        without_rows: tables of the whole schema whose rows are left out.

    Raises:
        PostgresProgramError: pg_dump failed.

    """
    # Level 1 halves numbers in text. Higher levels save no more and take five times as long.
    options = ["--format=custom", "--compress=1", "--encoding=UTF8", "--no-password", f"--snapshot={snapshot}"]
    options.append("--no-unlogged-table-data")  # logins by face in progress
    if tables is None:
        # Quotes keep the name from being read as a pattern.
        options.append(f"--schema={_quoted(schema_name)}")
        options += [f"--exclude-table-data={_quoted(schema_name)}.{_quoted(table)}" for table in without_rows]
    else:
        options += ["--data-only", *(f"--table={_quoted(schema_name)}.{_quoted(table)}" for table in tables)]
    with running(program, *options, environment=client_environment(url)) as (process, messages):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while block := process.stdout.read(_BATCH_BYTES):
            yield block
        if process.wait() != 0:
            raise PostgresProgramError(f"pg_dump could not read the gallery: {reason(messages)}.")


@dataclass(frozen=True, slots=True)
class DumpedTable:
    """A table in a dump."""

    name: str
    columns: tuple[str, ...]
    blocks: Iterator[bytes]
    """The rows in batches, as lines of COPY's text format. Read them before the next table."""


def dumped_tables(program: Program, blocks: Iterator[bytes]) -> Iterator[DumpedTable]:
    """Give the tables of a dump, one after the other.

    pg_restore only unpacks the dump and never connects to a server, so nothing in a dump is executed.

    Args:
        program: pg_restore.
        blocks: the dump's bytes.

    Raises:
        UnreadableDumpError: pg_restore cannot read the dump. Errors of reading the blocks are raised, too.

    """
    options = ("--data-only", "--file=-")
    with running(program, *options, environment=dict(ENVIRONMENT), stdin=subprocess.PIPE) as (process, messages):
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
            if "unsupported version" in reason(messages):
                raise PostgresProgramError(
                    f"The archive's dump was made by a newer PostgreSQL than pg_restore {program.version} knows. "
                    "Install newer client programs of PostgreSQL, or add their folder to PATH."
                )
            raise UnreadableDumpError(f"pg_restore cannot read this archive's dump: {reason(messages)}.")


def _feed(blocks: Iterator[bytes], sink: IO[bytes]) -> None:
    """Write blocks into a program, while its output is read."""
    with suppress(BrokenPipeError), sink:  # the messages of a program that ends early say why
        for block in blocks:
            sink.write(block)


def _parsed(output: IO[bytes]) -> Iterator[DumpedTable]:
    while line := output.readline(_MAX_LINE_BYTES):
        if found := _COPY.fullmatch(line):
            columns = tuple(_unquoted(name) for name in _IDENTIFIER.findall(found[2].decode()))
            rows = _rows(output)
            yield DumpedTable(_unquoted(found[1].decode()), columns, rows)
            for _ in rows:
                pass


def _rows(output: IO[bytes]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    while (line := output.readline(_MAX_LINE_BYTES)) != _END:
        if not line.endswith(b"\n"):
            return  # the output is cut off, which the exit code will show
        lines.append(line)
        size += len(line)
        if size >= _BATCH_BYTES:
            yield b"".join(lines)
            lines.clear()
            size = 0
    if lines:
        yield b"".join(lines)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
