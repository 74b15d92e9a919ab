"""Check an archive from end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pgface.errors import ArchiveError
from pgface.operations.backup.archive import Verified, Visitor, read_archive
from pgface.operations.backup.dump import UnreadableDumpError, dumped_tables
from pgface.operations.backup.programs import Program, find_pg_restore
from pgface.operations.backup.tables import TABLES
from pgface.settings import Settings

AskPassphrase = Callable[[], str]
"""Called when an archive is encrypted."""


def verify(settings: Settings, file: Path, ask_passphrase: AskPassphrase) -> Verified:
    """Check an archive from end to end: its structure, every checksum, and the dump's row counts.

    Raises:
        ArchiveError: the file is damaged or truncated, or not an archive. The message says what is wrong.
        PassphraseError: the passphrase is wrong.
        PostgresProgramError: there is no pg_restore that reads the dump.
        StorageError: the file cannot be read.

    """
    counter = _RowCounter(settings)
    verified = read_archive(file, ask_passphrase, counter)
    if counter.failure is not None:
        raise ArchiveError(f"{file}: {counter.failure}") from counter.failure
    if counter.rows != verified.manifest.tables:
        raise ArchiveError(f"{file}: The number of rows in this archive differs from its manifest.")
    return verified


def pg_restore_of(settings: Settings) -> Program:
    """Find the pg_restore that unpacks dumps."""
    return find_pg_restore(embedded=settings.database_url is None)


class _RowCounter(Visitor):
    """Counts the rows of each table in a dump."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.rows: dict[str, int] = {}
        self.failure: UnreadableDumpError | None = None
        """Reported at the end, because a wrong checksum explains it better and names the file."""

    def dump(self, blocks: Iterator[bytes]) -> None:
        try:
            for table in dumped_tables(pg_restore_of(self._settings), blocks):
                rows = sum(block.count(b"\n") for block in table.blocks)
                if table.name in TABLES:
                    self.rows[table.name] = rows
        except UnreadableDumpError as error:
            self.failure = error

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        pass
