"""The archive: one tar file, written and read from its beginning to its end.

    database.dump.000000 ...   the gallery's schema by pg_dump (custom format), in parts
    photos/<path of the row>   the photo files
    missing-photos.txt         paths of rows whose file was not there, if any
    manifest.json              what it is, and how much of it
    SHA256SUMS                 of every file before it, as `sha256sum -c` reads it

The checksums come last: without them an archive is not whole. Each member is checked by its name, its place in the
order and its checksum; what is not expected is refused. Where there is a passphrase,
`pgface.operations.backup.encryption` wraps all of it.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarInfo
from typing import IO, Any, Final, Protocol

from pgface.errors import ArchiveError, PassphraseError, StorageError
from pgface.gallery.photos import is_crop_path
from pgface.operations.backup.encryption import KEY, LONGEST_KEY, Parts, decrypting, encrypting, part_name
from pgface.operations.backup.manifest import Manifest, parse_manifest
from pgface.operations.backup.tar import Readable, TarReader, TarWriter, Writable

DUMP: Final = "database.dump."
PHOTOS: Final = "photos/"
MISSING: Final = "missing-photos.txt"
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"

_LARGEST_MANIFEST = 1024 * 1024
_SUM = re.compile(r"([0-9a-f]{64})  (.{1,200})\n")


class ArchiveWriter:
    """Writes an archive's members, and a checksum of each."""

    def __init__(self, tar: TarWriter, sums: IO[bytes]) -> None:
        self._tar = tar
        self._sums = sums

    def add(self, name: str, size: int, stream: Readable) -> None:
        """Write a member of the size, in bytes."""
        hashed = _HashedStream(stream)
        self._tar.add(name, size, hashed)
        self._sums.write(_sum(hashed.digest.hexdigest(), name))

    def add_dump(self, blocks: Iterator[bytes]) -> None:
        """Write the dump in parts, because its size is only known at its end."""
        parts = Parts(self, DUMP)
        for block in blocks:
            parts.write(block)
        parts.finish()

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and the checksums, which complete the archive."""
        data = manifest.model_dump_json(indent=2).encode() + b"\n"
        self.add(MANIFEST, len(data), io.BytesIO(data))
        size = self._sums.tell()
        self._sums.seek(0)
        self._tar.add(SUMS, size, self._sums)


@contextmanager
def writing(stream: Writable, mtime: int, passphrase: str | None) -> Iterator[ArchiveWriter]:
    """Give the writer of a new archive, which is encrypted if there is a passphrase."""
    plain: AbstractContextManager[Writable] = nullcontext(stream)
    if passphrase is not None:
        plain = encrypting(stream, passphrase, mtime)
    with plain as plain_stream, TarWriter(plain_stream, mtime) as tar, tempfile.TemporaryFile() as sums:
        yield ArchiveWriter(tar, sums)


class Visitor(Protocol):
    """Who is shown what is in an archive, in its order. What was shown is only known to be right at the end."""

    def dump(self, blocks: Iterator[bytes]) -> None:
        """The dump; it is read to its end, whether or not all of it was taken."""

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        """A photo file, with the path that its row has."""


@dataclass(frozen=True, slots=True)
class Read:
    """An archive that was read to its end and is whole."""

    manifest: Manifest
    sums_sha256: str
    """Of the list of checksums, so that two readings of a file can be compared."""
    encrypted: bool


def read_archive(file: Path, ask_passphrase: Callable[[], str], visitor: Visitor) -> Read:
    """Read an archive to its end and check all of it.

    Args:
        file: the archive.
        ask_passphrase: called if it is encrypted.
        visitor: is shown what is in it.

    Raises:
        ArchiveError: it is no archive, or a damaged or truncated one; the sentence says what is wrong.
        PassphraseError: it is encrypted with another passphrase.
        StorageError: it cannot be read.

    """
    try:
        stream = file.open("rb")
    except OSError as error:
        raise StorageError(f"{file} cannot be read ({error.strerror}).") from error
    with stream, _named(file):
        reader = TarReader(stream)
        first = reader.next()
        if first is not None and first.name == KEY and first.size <= LONGEST_KEY:
            key = b"".join(reader.blocks(first))
            with decrypting(reader, key, ask_passphrase()) as decrypted:
                inner = TarReader(decrypted)
                return _Reading(inner, inner.next(), visitor).run(encrypted=True)
        return _Reading(reader, first, visitor).run(encrypted=False)


class _Reading:
    """One reading of an archive, which is not encrypted any more."""

    def __init__(self, reader: TarReader, first: TarInfo | None, visitor: Visitor) -> None:
        self._reader = reader
        self._member = first
        self._visitor = visitor
        self._sums = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `run`

    def run(self, *, encrypted: bool) -> Read:
        with self._sums:
            dump = self._dump()
            self._visitor.dump(dump)
            for _ in dump:
                pass
            files, size = self._photos()
            missing = self._missing()
            manifest = parse_manifest(self._small(MANIFEST))
            sums = self._check_sums()
            if self._member is not None:
                raise _unexpected(self._member)
        facts = manifest.photos
        if (files, size, missing) != ((facts.files, facts.size, facts.missing) if facts else (0, 0, 0)):
            raise ArchiveError("This archive does not hold as many photo files as its manifest says.")
        return Read(manifest, sums, encrypted)

    def _dump(self) -> Iterator[bytes]:
        number = 0
        while (member := self._member) is not None and member.name == part_name(DUMP, number):
            yield from self._contents(member)
            number += 1
        if number == 0:
            raise ArchiveError("This is not an archive of `pgface backup`: it does not begin with a dump.")

    def _photos(self) -> tuple[int, int]:
        """Show the photo files; returns how many there are, and their bytes."""
        files = size = 0
        before = ""
        while (member := self._member) is not None and member.name.startswith(PHOTOS):
            filepath = member.name.removeprefix(PHOTOS)
            # In order, so that none is there twice.
            if not is_crop_path(filepath) or filepath <= before:
                raise _unexpected(member)
            contents = self._contents(member)
            self._visitor.photo(filepath, contents)
            for _ in contents:
                pass
            files, size, before = files + 1, size + member.size, filepath
        return files, size

    def _missing(self) -> int:
        if self._member is None or self._member.name != MISSING:
            return 0
        return sum(block.count(b"\n") for block in self._contents(self._member))

    def _small(self, name: str) -> bytes:
        member = self._member
        if member is None:
            raise ArchiveError(f"This archive is not whole: {name} is missing.")
        if member.name != name or member.size > _LARGEST_MANIFEST:
            raise _unexpected(member)
        return b"".join(self._contents(member))

    def _contents(self, member: TarInfo) -> Iterator[bytes]:
        """The member's bytes; after the last, the next member is the present one."""
        digest = hashlib.sha256()
        yield from _hashed(self._reader.blocks(member), digest.update)
        self._sums.write(_sum(digest.hexdigest(), member.name))
        self._member = self._reader.next()

    def _check_sums(self) -> str:
        """Compare the checksums with those of what was read; returns their own."""
        member = self._member
        if member is None:
            raise ArchiveError(f"This archive is not whole: {SUMS} is missing.")
        if member.name != SUMS:
            raise _unexpected(member)
        self._sums.seek(0)
        digest = hashlib.sha256()
        for block in _hashed(self._reader.blocks(member), digest.update):
            ours = self._sums.read(len(block))
            if ours != block:
                raise _difference(block, ours)
        if self._sums.read(1):
            raise ArchiveError(f"This archive holds files that {SUMS} does not name.")
        self._member = self._reader.next()
        return digest.hexdigest()


def _difference(theirs: bytes, ours: bytes) -> ArchiveError:
    """The first file that is not as the checksums say."""
    named = [_SUM.fullmatch(line) for line in theirs.decode(errors="replace").splitlines(keepends=True)]
    found = [_SUM.fullmatch(line) for line in ours.decode(errors="replace").splitlines(keepends=True)]
    for expected, actual in zip(named, found, strict=False):
        if expected is None or actual is None or expected[0] == actual[0]:
            continue
        if expected[2] == actual[2]:
            return ArchiveError(f"This archive is damaged: {actual[2]} has another checksum than it was written with.")
        return ArchiveError(
            f"This archive holds {actual[2]} where {SUMS} names {expected[2]!r}: files are missing, or too many."
        )
    return ArchiveError(f"This archive does not hold the files that {SUMS} names.")


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Begin the sentences of refusals with the file's name."""
    try:
        yield
    except PassphraseError as error:
        raise PassphraseError(f"{file}: {error}") from error
    except ArchiveError as error:
        raise ArchiveError(f"{file}: {error} Nothing was changed.") from error
    except OSError as error:
        raise StorageError(f"{file} cannot be read or unpacked ({error.strerror or error}).") from error


class _HashedStream:
    """A stream with the SHA-256 of what was read from it."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


def _unexpected(member: TarInfo) -> ArchiveError:
    return ArchiveError(f"This archive holds {member.name[:200]!r}, which does not belong there.")


def _hashed(blocks: Iterator[bytes], update: Callable[[bytes], Any]) -> Iterator[bytes]:
    for block in blocks:
        update(block)
        yield block


def _sum(digest: str, name: str) -> bytes:
    return f"{digest}  {name}\n".encode()
