"""The archive, one tar file that is written and read from start to end.

    database.dump.000000 ...   the gallery's schema by pg_dump (custom format), in parts
    photos/<path of the row>   the photo files
    missing-photos.txt         paths of rows whose file is missing, if any
    manifest.json              a description of the contents
    SHA256SUMS                 a checksum of every file before it, for `sha256sum -c`

pg_dump compresses the dump (`dump.py`). Photos are stored as they are.
The checksums come last, so an archive without them is incomplete. Each member is checked by its name, its position and
its checksum. Unexpected members are refused. With a passphrase, `pgface.operations.backup.encryption` wraps all of it.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarInfo
from typing import IO, Any, Final, Protocol

from pydantic_core import to_jsonable_python

from pgface.errors import ArchiveError, PassphraseError, StorageError
from pgface.gallery.photo_stores.base import is_crop_path
from pgface.operations.backup.encryption import KEY, MAX_KEY_BYTES, Parts, decrypting, encrypting, part_name
from pgface.operations.backup.manifest import Manifest, parse_manifest
from pgface.operations.backup.tar import Readable, TarReader, TarWriter, Writable, tar_writer

DUMP: Final = "database.dump."
PHOTOS: Final = "photos/"
MISSING: Final = "missing-photos.txt"
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"

_MAX_MANIFEST_BYTES = 1024 * 1024
_SUM = re.compile(r"([0-9a-f]{64})  (.{1,200})\n")


class ArchiveWriter:
    """Writes an archive's members, and a checksum of each."""

    def __init__(self, tar: TarWriter, sums: IO[bytes]) -> None:
        self._tar = tar
        self._sums = sums

    def add(self, name: str, size: int, stream: Readable) -> None:
        """Write a member with as many bytes of a stream as the size says."""
        hashed = _HashedStream(stream)
        self._tar.add(name, size, hashed)
        self._sums.write(_sum(hashed.digest.hexdigest(), name))

    def add_dump(self, blocks: Iterator[bytes]) -> None:
        """Write the dump in parts, because its size is only known at its end."""
        parts = Parts(self.add, DUMP)
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
    with plain as plain_stream, tar_writer(plain_stream, mtime) as tar, tempfile.TemporaryFile() as sums:
        yield ArchiveWriter(tar, sums)


class Visitor(Protocol):
    """Receives the contents of an archive in their order. Only the end of the archive proves that they are intact."""

    def dump(self, blocks: Iterator[bytes]) -> None:
        """Receive the dump. The archive skips the bytes that are not read."""

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        """Receive a photo file, with the path of its row."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of reading an intact archive to its end."""

    manifest: Manifest
    encrypted: bool
    sums_sha256: str
    """The SHA-256 of the list of checksums, to compare two readings of a file."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        values: dict[str, Any] = to_jsonable_python(self, exclude={"sums_sha256"})
        return values


def read_archive(file: Path, ask_passphrase: Callable[[], str], visitor: Visitor) -> Verified:
    """Read an archive to its end and check all of it.

    Args:
        file: the archive.
        ask_passphrase: called if the archive is encrypted.
        visitor: receives the contents.

    Raises:
        ArchiveError: the file is damaged or truncated, or not an archive. The message says what is wrong.
        PassphraseError: the passphrase is wrong.
        StorageError: the file cannot be read.

    """
    began = time.monotonic()
    try:
        stream = file.open("rb")
    except OSError as error:
        raise StorageError(f"{file} cannot be read ({error.strerror}).") from error
    with stream, _named(file), ExitStack() as decryption:
        reader = TarReader(stream)
        first = reader.next()
        encrypted = first is not None and first.name == KEY and first.size <= MAX_KEY_BYTES
        if first is not None and encrypted:
            key = b"".join(reader.blocks(first))
            reader = TarReader(decryption.enter_context(decrypting(reader, key, ask_passphrase())))
            first = reader.next()
        manifest, sums = _Reading(reader, first, visitor).run()
    return Verified(manifest, encrypted, sums, time.monotonic() - began)


class _Reading:
    """One reading of a decrypted archive."""

    def __init__(self, reader: TarReader, first: TarInfo | None, visitor: Visitor) -> None:
        self._reader = reader
        self._member = first
        self._visitor = visitor
        self._sums = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `run`

    def run(self) -> tuple[Manifest, str]:
        """Read everything. Returns the manifest, and the SHA-256 of the list of checksums."""
        with self._sums:
            dump = self._dump()
            self._visitor.dump(dump)
            _skip(dump)
            files, size = self._photos()
            missing = self._missing()
            manifest = parse_manifest(self._manifest())
            sums = self._check_sums()
            if self._member is not None:
                raise _unexpected(self._member)
        facts = manifest.photos
        if (files, size, missing) != ((facts.files, facts.size, facts.missing) if facts else (0, 0, 0)):
            raise ArchiveError("The number of photo files in this archive differs from its manifest.")
        return manifest, sums

    def _dump(self) -> Iterator[bytes]:
        number = 0
        while (member := self._member) is not None and member.name == part_name(DUMP, number):
            yield from self._contents(member)
            number += 1
        if number == 0:
            raise ArchiveError("This is not an archive of `pgface backup`: it does not begin with a dump.")

    def _photos(self) -> tuple[int, int]:
        """Give the photo files to the visitor. Returns their number and total size."""
        files = size = 0
        before = ""
        while (member := self._member) is not None and member.name.startswith(PHOTOS):
            filepath = member.name.removeprefix(PHOTOS)
            # The order proves that there are no duplicates.
            if not is_crop_path(filepath) or filepath <= before:
                raise _unexpected(member)
            contents = self._contents(member)
            self._visitor.photo(filepath, contents)
            _skip(contents)
            files, size, before = files + 1, size + member.size, filepath
        return files, size

    def _missing(self) -> int:
        if self._member is None or self._member.name != MISSING:
            return 0
        return sum(block.count(b"\n") for block in self._contents(self._member))

    def _manifest(self) -> bytes:
        member = self._required(MANIFEST)
        if member.size > _MAX_MANIFEST_BYTES:
            raise _unexpected(member)
        return b"".join(self._contents(member))

    def _required(self, name: str) -> TarInfo:
        """Give the current member, which must have the name."""
        if self._member is None:
            raise ArchiveError(f"This archive is incomplete: {name} is missing.")
        if self._member.name != name:
            raise _unexpected(self._member)
        return self._member

    def _contents(self, member: TarInfo) -> Iterator[bytes]:
        """Give the member's bytes. After the last, the next member becomes the current one."""
        digest = hashlib.sha256()
        for block in self._reader.blocks(member):
            digest.update(block)
            yield block
        self._sums.write(_sum(digest.hexdigest(), member.name))
        self._member = self._reader.next()

    def _check_sums(self) -> str:
        """Compare the archive's list of checksums with the contents. Returns the checksum of the list."""
        member = self._required(SUMS)
        self._sums.seek(0)
        digest = hashlib.sha256()
        for block in self._reader.blocks(member):
            digest.update(block)
            ours = self._sums.read(len(block))
            if ours != block:
                raise _difference(block, ours)
        if self._sums.read(1):
            raise ArchiveError(f"This archive holds files that {SUMS} does not name.")
        self._member = self._reader.next()
        return digest.hexdigest()


def _difference(theirs: bytes, ours: bytes) -> ArchiveError:
    """Describe the first difference between the two lists of checksums."""
    named = [_SUM.fullmatch(line) for line in theirs.decode(errors="replace").splitlines(keepends=True)]
    found = [_SUM.fullmatch(line) for line in ours.decode(errors="replace").splitlines(keepends=True)]
    for expected, actual in zip(named, found, strict=False):
        if expected is None or actual is None or expected[0] == actual[0]:
            continue
        if expected[2] == actual[2]:
            return ArchiveError(f"This archive is damaged: {actual[2]} does not match its checksum.")
        return ArchiveError(
            f"This archive holds {actual[2]} where {SUMS} names {expected[2]!r}: there are missing or extra files."
        )
    return ArchiveError(f"This archive does not hold the files that {SUMS} names.")


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Put the file's name before the messages of errors."""
    try:
        yield
    except PassphraseError as error:
        raise PassphraseError(f"{file}: {error}") from error
    except ArchiveError as error:
        raise ArchiveError(f"{file}: {error} Nothing was changed.") from error
    except OSError as error:
        raise StorageError(f"{file} cannot be read or unpacked ({error.strerror or error}).") from error


class _HashedStream:
    """A stream that hashes the bytes that are read from it."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


def _unexpected(member: TarInfo) -> ArchiveError:
    return ArchiveError(f"This archive holds {member.name[:200]!r}, which does not belong there.")


def _skip(blocks: Iterator[bytes]) -> None:
    for _ in blocks:
        pass


def _sum(digest: str, name: str) -> bytes:
    return f"{digest}  {name}\n".encode()
