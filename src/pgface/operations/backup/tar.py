"""Write and read tar files as streams, in the one form that pgface uses.

Any tar program reads them. pgface reads only what it writes: regular files with a name, a size and a time, and zeros
between them. It refuses links, devices, other owners, long names and everything else that a tar file can contain.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, Self, cast

from pgface.errors import ArchiveError, StorageError

BLOCK_BYTES = 1024 * 1024


class Readable(Protocol):
    """A stream to read from."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes. Returns no bytes at the end."""


class Writable(Protocol):
    """A stream to write to."""

    def write(self, data: bytes, /) -> object:
        """Write all bytes."""


class TarWriter:
    """Writes a tar file, one member after the other."""

    def __init__(self, tar: tarfile.TarFile, mtime: int) -> None:
        self._tar = tar
        self._mtime = mtime

    def add(self, name: str, size: int, stream: Readable) -> None:
        """Write a member with the next bytes of a stream, as many as the size says.

        Raises:
            StorageError: the stream has fewer bytes.

        """
        try:
            self._tar.addfile(_plain_file(name, size, self._mtime), cast("IO[bytes]", stream))
        except OSError as error:
            if error.errno is not None:
                raise
            raise StorageError(f"{name} became shorter while it was copied. Try again.") from error
        _clear_members(self._tar)


@contextmanager
def tar_writer(stream: Writable, mtime: int) -> Iterator[TarWriter]:
    """Give the writer of a tar file. The end of the file is written when the context ends.

    Args:
        stream: receives the tar file.
        mtime: the time of all members, in seconds since 1970.

    """
    file = cast("IO[bytes]", stream)  # only its `write` is called
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT, encoding="ascii") as tar:
        yield TarWriter(tar, mtime)


class TarReader:
    """Reads a tar file, one member after the other. Read each member to its end.

    Raises:
        ArchiveError: the file is damaged, ends too early, or was not written by `TarWriter`.

    """

    def __init__(self, stream: Readable) -> None:
        file = cast("IO[bytes]", stream)  # only its `read` is called
        self._tar = tarfile.open(  # noqa: SIM115
            fileobj=file, mode="r|", bufsize=64 * 1024, tarinfo=_PlainFile, encoding="ascii", errors="strict"
        )

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, or None at the end."""
        _clear_members(self._tar)
        try:
            member = self._tar.next()
        except tarfile.ReadError as error:
            raise _truncated() from error
        if member is None:
            self._check_end()
        return member

    def blocks(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        """Give the bytes of a member."""
        stream = self._tar.extractfile(member)
        assert stream is not None  # noqa: S101 - it is a regular file
        try:
            while block := stream.read(BLOCK_BYTES):
                yield block
        except tarfile.ReadError as error:
            raise _truncated() from error
        if any(self._read(-member.size % tarfile.BLOCKSIZE)):
            raise ArchiveError(f"This archive is damaged after {member.name}.")

    def _check_end(self) -> None:
        """Check that two blocks of zeros end the file, or a whole record of them, and that nothing follows."""
        shortest = self._tar.offset + 2 * tarfile.BLOCKSIZE
        longest = -(-shortest // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
        end = self._tar.offset + tarfile.BLOCKSIZE
        while block := self._read(BLOCK_BYTES):
            end += len(block)
            if any(block) or end > longest:
                raise ArchiveError("This archive is damaged at its end.")
        if end not in (shortest, longest):
            raise _truncated()

    def _read(self, size: int) -> bytes:
        assert self._tar.fileobj is not None  # noqa: S101 - it is open
        return self._tar.fileobj.read(size)


class _PlainFile(tarfile.TarInfo):
    """The header of a regular file with only a name, a size and a time. Any other header is refused."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE:
            raise _truncated()
        try:
            info = super().frombuf(buf, encoding, errors)
            if _plain_file(info.name, info.size, int(info.mtime)).tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") == buf:
                return info
        except (tarfile.HeaderError, ValueError):
            if not any(buf):
                raise  # a block of zeros, which is the end
        raise ArchiveError("This is not an archive of `pgface backup`, or it is damaged.")


def _clear_members(tar: tarfile.TarFile) -> None:
    """Clear the list of finished members. For a million members, it would take hundreds of megabytes."""
    tar.members.clear()  # type: ignore[attr-defined]


def _plain_file(name: str, size: int, mtime: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, mtime, 0o600
    return info


def _truncated() -> ArchiveError:
    return ArchiveError("This archive ends too early. It is truncated, or was not written to its end.")
