"""Write a file that appears only when it is complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from pgface.errors import StorageError
from pgface.system.file_systems import has_locks, make_private, sync_folder
from pgface.system.ownership import reason_with_owner

if sys.platform != "win32":
    import fcntl


@contextmanager
def atomic_file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """Write a file as `<path>.partial`, and rename it when everything is on disk.

    Only its owner can read the file. After any error, including Ctrl-C, nothing is left.

    Args:
        path: the file's final name.
        replace: whether the file may exist already.

    Raises:
        StorageError: the file exists, or cannot be written.

    """
    try:
        _refuse_existing(path, replace)
        locks = has_locks(path.parent)
        # Without locks, each writer needs its own name.
        partial = path.with_name(f"{path.name}.partial" if locks else f"{path.name}.{uuid4().hex[:8]}.partial")
        with _opened_exclusively(partial, locks=locks) as stream:
            try:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                _refuse_existing(path, replace)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({reason_with_owner(error, path)}). "
            "Check the disk's free space and the folder's permissions."
        ) from error


@contextmanager
def _opened_exclusively(path: Path, *, locks: bool) -> Iterator[BinaryIO]:
    """Open an empty file, unless another process is writing it. The file of a killed process is overwritten."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(descriptor, "wb", buffering=1024 * 1024) as stream:
            if sys.platform != "win32" and locks:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file = path.with_name(path.name.removesuffix(".partial"))
                    raise StorageError(
                        f"{file} is being written by another process. Wait for its end, or give another name."
                    ) from None
            # The process that had the lock may have finished and renamed the file that was opened here.
            if not _is_same_file(path, descriptor):
                continue
            make_private(descriptor, 0o600)
            os.ftruncate(descriptor, 0)
            yield stream
            return


def _is_same_file(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    return False


def _refuse_existing(path: Path, replace: bool) -> None:
    if path.is_dir():
        raise StorageError(f"{path} is a folder. Give the name of a file in it.")
    if not replace and os.path.lexists(path):
        raise StorageError(f"{path} exists. Give another name, or overwrite it with `replace=True`.")
