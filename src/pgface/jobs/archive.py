"""Reads an uploaded archive of photos: `<person>/<photo>` in a ZIP or TAR file.

An archive comes from outside, so what it says about itself is not trusted. Every byte that is unpacked counts, also of
entries that are skipped. Nothing is written to a path that the archive names.
"""

from __future__ import annotations

import gzip
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Final, cast

from pgface.errors import GalleryError, PhotoArchiveError, PhotoTooLargeError
from pgface.gallery.enroll_folder import person_of

MAX_ENTRIES: Final = 50_000
"""Maximum number of entries. More would need Zip64, and a list of them takes much memory."""
_MAX_DIRECTORY_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a ZIP file's list of entries."""
_MAX_HEADER_BYTES: Final = 64 * 1024
_MAX_PATH: Final = 1_000
_BLOCK: Final = 1024 * 1024
_ARCHIVES: Final = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\xfd7zXZ\0", b"BZh")
"""The first bytes of archives and compressed files. No format of photos begins like that."""
_TAR_MAGIC: Final = slice(257, 262)
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_IGNORED: Final = "__MACOSX"
_PARQUET: Final = b"PAR1"
EXPORT_FILES: Final = ("face_db.npy", "face_db.json")
_DAMAGED: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RuntimeError)
"""What the modules raise for damaged files. RuntimeError is for encryption and for unknown compression."""
_OUTSIDE: Final = "The photo is not in a person's folder. Name it <person>/<photo>."


@dataclass(frozen=True, slots=True)
class PhotoEntry:
    """A photo of an archive, or why it is refused."""

    path: str
    data: bytes = field(repr=False)
    refusal: GalleryError | PhotoTooLargeError | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """An entry of an archive before it was read."""

    path: str
    file: IO[bytes]
    is_counted: bool = False
    """Whether the stream below it counts the unpacked bytes."""


class _Budget:
    """Counts unpacked bytes and entries, and refuses an archive with more than the limits."""

    def __init__(self, max_bytes: int) -> None:
        self._left = self._max_bytes = max_bytes
        self._entries = 0

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise PhotoArchiveError(
                f"The archive unpacks to more than {self._max_bytes:,} bytes. Send several smaller ones."
            )

    def take_entry(self) -> None:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise PhotoArchiveError(f"The archive has more than {MAX_ENTRIES:,} entries. Send several smaller ones.")


def photos_of(archive: IO[bytes], *, max_bytes: int, max_photo_bytes: int) -> Iterator[PhotoEntry]:
    """Yield the photos of an archive in its order.

    Args:
        archive: the ZIP or TAR file, which may be compressed with gzip. It can seek.
        max_bytes: limit of all unpacked bytes.
        max_photo_bytes: limit of one photo. A larger one is refused alone.

    Raises:
        PhotoArchiveError: the archive is damaged, too large, encrypted, or has links, other archives, or paths that
            lead out of it. Ignore the photos that came before.

    """
    people: dict[str, str] = {}
    budget = _Budget(max_bytes)
    found = False
    try:
        for member in _members(archive, budget):
            parts = _safe_parts(member.path)
            if any(part.startswith(".") for part in parts) or parts[0] == _IGNORED:
                _read(member, budget, 0)
                continue
            data = _read(member, budget, max_photo_bytes)
            _refuse_nested(member.path, data)
            found = True
            yield PhotoEntry(member.path, *_photo(parts, data, max_photo_bytes, people))
    except _DAMAGED as error:
        raise _damaged() from error
    if not found:
        raise PhotoArchiveError("The archive has no photos. Send one with a folder of photos for each person.")


@contextmanager
def export_files(archive: IO[bytes], *, max_bytes: int) -> Iterator[dict[str, IO[bytes]]]:
    """Yield the files of an export: a Parquet file, or a ZIP file of `face_db.npy` and `face_db.json`.

    Raises:
        PhotoArchiveError: the file is something else, is too large, or is damaged.

    """
    start = archive.read(4)
    archive.seek(0)
    if start == _PARQUET:
        yield {"export.parquet": archive}
        return
    try:
        if start[:2] != b"PK":
            raise _not_an_export()
        _require_short_directory(archive)
        with ExitStack() as opened, zipfile.ZipFile(archive) as found:
            names = {info.filename.rpartition("/")[2]: info for info in found.infolist() if not info.is_dir()}
            if not set(EXPORT_FILES) <= names.keys():
                raise _not_an_export()
            budget = _Budget(max_bytes)
            files = {name: opened.enter_context(found.open(names[name])) for name in EXPORT_FILES}
            yield {name: cast(IO[bytes], _Unpacked(file, budget)) for name, file in files.items()}
    except _DAMAGED as error:
        raise _damaged() from error


def _not_an_export() -> PhotoArchiveError:
    return PhotoArchiveError(
        f"This is not an export. Send a .parquet file, or a ZIP file of {' and '.join(EXPORT_FILES)}."
    )


def _damaged() -> PhotoArchiveError:
    return PhotoArchiveError("The archive is damaged or encrypted, or its compression is not known.")


def _photo(
    parts: list[str], data: bytes, max_bytes: int, people: dict[str, str]
) -> tuple[bytes, GalleryError | PhotoTooLargeError | None]:
    if len(parts) != 2:  # a person and a photo
        return b"", GalleryError(_OUTSIDE)
    if len(data) > max_bytes:
        return b"", PhotoTooLargeError(f"The photo has more than {max_bytes:,} bytes.")
    try:
        email = person_of(parts[0]).email
    except GalleryError as error:
        return b"", error
    if people.setdefault(email, parts[0]) != parts[0]:
        raise PhotoArchiveError(f"{people[email]!r} and {parts[0]!r} would both be {email}. Rename one of them.")
    return data, None


def _members(archive: IO[bytes], budget: _Budget) -> Iterator[_Member]:
    start = archive.read(4)
    archive.seek(0)
    if start[:2] == b"PK":
        return _zip_members(archive, budget)
    return _tar_members(archive, budget, compressed=start[:2] == b"\x1f\x8b")


def _zip_members(archive: IO[bytes], budget: _Budget) -> Iterator[_Member]:
    _require_short_directory(archive)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            budget.take_entry()
            if info.is_dir():
                continue
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _not_a_file(info.filename)
            if info.flag_bits & 0x1:
                raise PhotoArchiveError("The archive is encrypted. Send it without a password.")
            with opened.open(info) as file:
                yield _Member(info.orig_filename, file)


def _require_short_directory(archive: IO[bytes]) -> None:
    """Refuse a ZIP file with a huge list of entries, before zipfile loads all of it into memory."""
    size = archive.seek(0, 2)
    archive.seek(max(0, size - 66_000))
    end = archive.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) - at < 20:  # the record has 22 bytes
        raise zipfile.BadZipFile
    (directory_bytes,) = struct.unpack_from("<I", end, at + 12)
    if directory_bytes > _MAX_DIRECTORY_BYTES or b"PK\x06\x07" in end[max(0, at - 20) : at]:
        raise PhotoArchiveError(f"The archive has more than {MAX_ENTRIES:,} entries, or is a Zip64 file.")
    archive.seek(0)


class _Unpacked:
    """A decompressed stream that counts what is read, also of entries that tarfile skips."""

    def __init__(self, file: Any, budget: _Budget) -> None:
        self._file, self._budget = file, budget

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        self._budget.take(len(data))
        return data


class _ShortHeaders(tarfile.TarInfo):
    """An entry of a TAR file. tarfile would load an extended header of any size into memory."""

    def _proc_member(self, opened: tarfile.TarFile) -> Any:
        if self.size > _MAX_HEADER_BYTES and not (self.isreg() or self.isdir()):
            raise _not_a_file(self.name)
        return super()._proc_member(opened)  # type: ignore[misc]


def _tar_members(archive: IO[bytes], budget: _Budget, *, compressed: bool) -> Iterator[_Member]:
    stream = gzip.GzipFile(fileobj=archive, mode="rb") if compressed else archive
    # As a stream, so that each byte is unpacked once, and no entry is read out of order.
    with tarfile.open(fileobj=_Unpacked(stream, budget), mode="r|", tarinfo=_ShortHeaders) as opened:  # type: ignore[call-overload]
        for info in opened:
            budget.take_entry()
            opened.members = []  # tarfile keeps all of them otherwise
            if info.isdir():
                continue
            if not info.isfile() or info.issparse():
                raise _not_a_file(info.name)
            file = opened.extractfile(info)
            assert file is not None  # noqa: S101 - it is a regular file
            yield _Member(info.name, file, is_counted=True)


def _read(member: _Member, budget: _Budget, most: int) -> bytes:
    """Read at most so many bytes and one more, and count all that is unpacked."""
    blocks, size = [], 0
    while block := member.file.read(_BLOCK):
        if not member.is_counted:
            budget.take(len(block))
        if size <= most:
            blocks.append(block)
        size += len(block)
    return b"".join(blocks)[: most + 1]


def _safe_parts(path: str) -> list[str]:
    """Split a path into its parts. Refuse the archive if the path leads out of it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or len(path) > _MAX_PATH or path.startswith("/") or ".." in parts or _DRIVE.match(path):
        raise _unsafe(path)
    if any(sign in path for sign in "\\\0"):
        raise _unsafe(path)
    return parts


def _refuse_nested(path: str, data: bytes) -> None:
    if data.startswith(_ARCHIVES) or data[_TAR_MAGIC] == b"ustar":
        raise PhotoArchiveError(f"{_shown(path)} is an archive inside the archive. Send only photos.")


def _not_a_file(path: str) -> PhotoArchiveError:
    return PhotoArchiveError(f"{_shown(path)} is a link or a special file. Send only files and folders.")


def _unsafe(path: str) -> PhotoArchiveError:
    return PhotoArchiveError(f"{_shown(path)} is not a path below the archive. Name photos <person>/<photo>.")


def _shown(path: str) -> str:
    return repr(path[:80])
