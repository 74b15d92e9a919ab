"""Encryption of archives in the age format (age-encryption.org/v1), by the library pyrage.

age encrypts a stream for a key pair. Every archive has a new key pair. Its secret key, encrypted with the passphrase,
is the first file of the archive. The program `age` reads both, so you can open an archive without pgface:

    tar -xf FILE key.age
    tar -xOf FILE --wildcards 'archive.tar.age.*' | age -d -i key.age > archive.tar

Writing and reading keep at most one part in memory. Creating and opening the key takes up to half a gigabyte for a
second, because of scrypt.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from typing import Any, BinaryIO

from pgface.errors import ArchiveError, PassphraseError
from pgface.operations.backup.tar import Readable, TarReader, Writable, tar_writer
from pgface.system.extras import how_to_install

KEY = "key.age"
PART_BYTES = 16 * 1024 * 1024
"""The size of the members into which a stream of unknown length is split."""
_PART = "archive.tar.age."
MAX_KEY_BYTES = 4096


@contextmanager
def encrypting(stream: Writable, passphrase: str, mtime: int) -> Iterator[Writable]:
    """Give a stream whose bytes go, encrypted, into a tar file in another stream.

    Args:
        stream: receives the encrypted bytes.
        passphrase: decrypts them again.
        mtime: the time of the members, in seconds since 1970.

    Raises:
        ArchiveError: pyrage is not installed.

    """
    pyrage = _library()
    identity = pyrage.x25519.Identity.generate()
    with tar_writer(stream, mtime) as outer:
        key = pyrage.passphrase.encrypt(str(identity).encode(), passphrase)
        outer.add(KEY, len(key), io.BytesIO(key))
        parts = Parts(outer.add, _PART)

        def encrypt(source: BinaryIO) -> None:
            try:
                with source:
                    pyrage.encrypt_io(source, parts, [identity.to_public()])
            except pyrage.EncryptError as error:
                raise parts.failure or error from error

        with _pipe() as (source, sink), ThreadPoolExecutor(1, "pgface-age") as executor:
            encryption = executor.submit(encrypt, source)
            # If the thread fails, this side only sees a broken pipe. `result` raises the thread's error.
            with suppress(BrokenPipeError), sink:
                yield sink
            encryption.result()
        parts.finish()


@contextmanager
def decrypting(reader: TarReader, key: bytes, passphrase: str) -> Iterator[Readable]:
    """Give a stream of the decrypted archive.

    Args:
        reader: the reader of the encrypted archive, after its key.
        key: the contents of the member `key.age`.
        passphrase: decrypts the key.

    Raises:
        PassphraseError: the passphrase is wrong.
        ArchiveError: the archive is damaged, or pyrage is not installed.

    """
    pyrage = _library()
    identity = _opened(key, passphrase)
    parts = _PartsReader(reader)

    def decrypt(sink: BinaryIO) -> None:
        try:
            with suppress(BrokenPipeError), sink:  # after an error, the other side has closed the pipe
                pyrage.decrypt_io(parts, sink, [identity])
        except (OSError, pyrage.DecryptError) as error:
            if parts.failure is not None:
                raise parts.failure from error
            raise ArchiveError("This archive is damaged or truncated: it cannot be decrypted to its end.") from error

    with _pipe() as (source, sink), ThreadPoolExecutor(1, "pgface-age") as executor:
        decryption = executor.submit(decrypt, sink)
        with source:
            try:
                yield source
            except ArchiveError:
                source.close()  # so that the thread ends, too
                decryption.result()  # a failed decryption looks like an early end here, so its error comes first
                raise
        decryption.result()


class Parts:
    """Writes a stream into a tar file, as members of a fixed size with numbered names. Only the last is smaller."""

    def __init__(self, add: Callable[[str, int, Readable], None], prefix: str) -> None:
        self._add_member = add
        self._prefix = prefix
        self._buffer = bytearray()
        self._number = 0
        self.failure: OSError | None = None
        """The error of a write, because pyrage only passes on its text."""

    def write(self, data: bytes) -> int:
        """Write all bytes."""
        self._buffer += data
        while len(self._buffer) >= PART_BYTES:
            self._add(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]
        return len(data)

    def flush(self) -> None:
        """Do nothing, because a part is written when it is full."""

    def finish(self) -> None:
        """Write the last part."""
        if self._buffer:
            self._add(bytes(self._buffer))

    def _add(self, part: bytes) -> None:
        try:
            self._add_member(part_name(self._prefix, self._number), len(part), io.BytesIO(part))
        except OSError as error:
            self.failure = error
            raise
        self._number += 1


def part_name(prefix: str, number: int) -> str:
    """Name a part of a stream. Names sort like numbers."""
    return f"{prefix}{number:06}"


class _PartsReader:
    """A stream of the parts that `Parts` wrote."""

    def __init__(self, reader: TarReader) -> None:
        self._blocks = _part_blocks(reader)
        self._left = memoryview(b"")
        self.failure: ArchiveError | None = None
        """The error of a read, because pyrage only passes on its text."""

    def read(self, size: int) -> bytes:
        try:
            self._left = self._left or memoryview(next(self._blocks, b""))
        except ArchiveError as error:
            self.failure = error
            raise
        taken, self._left = self._left[:size], self._left[size:]
        return bytes(taken)


def _part_blocks(reader: TarReader) -> Iterator[bytes]:
    for number in count():
        member = reader.next()
        if member is None:
            return
        if member.name != part_name(_PART, number):
            raise ArchiveError(f"This archive is damaged: {member.name[:80]!r} does not belong there.")
        yield from reader.blocks(member)


@lru_cache(maxsize=1)
def _opened(key: bytes, passphrase: str) -> Any:
    """Decrypt an archive's secret key. It is cached, because a restore reads its archive twice."""
    pyrage = _library()
    try:
        return pyrage.x25519.Identity.from_str(pyrage.passphrase.decrypt(key, passphrase).decode())
    except (pyrage.DecryptError, pyrage.IdentityError, ValueError) as error:
        raise PassphraseError from error


def _library() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise ArchiveError(f"Encrypted archives need the library pyrage. Run {how_to_install('backup')}.") from error
    return pyrage


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as reading, os.fdopen(sink, "wb", buffering=1024 * 1024) as writing:
        yield reading, writing
