"""Plain tar files, written and read as streams, in the one form that pgface writes.

Any tar program reads them. Read here is only what is written here: regular files with nothing but a name, a size and a
time, and zeros between them. Whatever else a tar file can hold (links, devices, other owners, long names) is no archive
of ours, so every byte of a header is checked by writing it again, and nothing of it is ever obeyed.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pgface.errors import ArchiveError

BLOCK = 512
READ_AT_ONCE = 1024 * 1024
_END = bytes(2 * BLOCK)


class Readable(Protocol):
    """What a tar file is read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, and none at the end."""


class Writable(Protocol):
    """What a tar file is written to."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file."""

    name: str
    size: int
    """In bytes."""


class TarWriter:
    """Writes a tar file, one member after the other."""

    def __init__(self, stream: Writable, moment: int) -> None:
        self._stream = stream
        self._moment = moment

    def add(self, name: str, size: int, blocks: Iterator[bytes]) -> None:
        """Write a member; the blocks are its bytes, as many as the size says."""
        self._stream.write(_header(name, size, self._moment))
        for block in blocks:
            self._stream.write(block)
        self._stream.write(bytes(-size % BLOCK))

    def finish(self) -> None:
        """Write the end of the tar file."""
        self._stream.write(_END)


class TarReader:
    """Reads a tar file, one member after the other; each is to be read to its end.

    Raises:
        ArchiveError: the file is damaged, ends too early, or was not written by `TarWriter`.

    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def next(self) -> Member | None:
        """The next member, or None at the end."""
        header = self._exactly(BLOCK)
        if header == bytes(BLOCK):
            if self._exactly(BLOCK) != bytes(BLOCK) or self._stream.read(1):
                raise ArchiveError("This archive is damaged at its end.")
            return None
        return _parsed(header)

    def blocks(self, member: Member) -> Iterator[bytes]:
        """The member's bytes."""
        left = member.size
        while left:
            block = self._stream.read(min(left, READ_AT_ONCE))
            if not block:
                raise _truncated()
            left -= len(block)
            yield block
        if any(self._exactly(-member.size % BLOCK)):
            raise ArchiveError(f"This archive is damaged after {member.name}.")

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self._stream.read(size - len(found))
            if not more:
                raise _truncated()
            found += more
        return found


def _header(name: str, size: int, moment: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, moment, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _parsed(header: bytes) -> Member:
    try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        if info.size >= 0 and _header(info.name, info.size, int(info.mtime)) == header:
            return Member(info.name, info.size)
    except (tarfile.TarError, ValueError):
        pass
    raise ArchiveError("This is not an archive of `pgface backup`, or it is damaged.")


def _truncated() -> ArchiveError:
    return ArchiveError("This archive ends too early: it is truncated, or was not written to its end.")
