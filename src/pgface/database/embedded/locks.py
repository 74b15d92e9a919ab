"""Locks on files. The kernel releases a lock when its process ends.

They are `flock` locks, because a process loses POSIX record locks when it closes any descriptor of the same file.
Python opens files close-on-exec, so a server that starts under a lock does not inherit it. A forked child does. So an
exclusive lock is released explicitly, and the child does not hold it. A shared lock is released only by closing the
file, so that a child that uses the database still counts as a client.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgface.errors import EmbeddedPostgresError
from pgface.system.file_systems import is_unsupported

if sys.platform != "win32":
    import fcntl


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock, and hold it inside the block."""
    descriptor = open_file(path)
    try:
        _lock(descriptor, fcntl.LOCK_EX, path)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def shared(path: Path) -> int:
    """Take the lock together with other processes, until the returned descriptor is closed."""
    descriptor = open_file(path)
    try:
        _lock(descriptor, fcntl.LOCK_SH, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_free(path: Path) -> bool:
    """Whether no process holds the shared lock at this moment."""
    descriptor = open_file(path)
    try:
        _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int, how: int, path: Path) -> None:
    """Lock an open file.

    Raises:
        BlockingIOError: another process holds it.
        EmbeddedPostgresError: the file system has no locks.

    """
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if isinstance(error, BlockingIOError) or not is_unsupported(error):
            raise
        raise EmbeddedPostgresError(
            f"The file system of {path.parent} has no locks (flock: {error.strerror}), and the embedded PostgreSQL "
            "needs them: two servers would destroy its data. Set PGFACE_DATA_DIR to a folder of a local disk, or "
            "PGFACE_DATABASE_URL to your own server."
        ) from error


def open_file(path: Path) -> int:
    """Open a file, and create it if it does not exist. The caller closes it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        # The folder may belong to another user, who must be able to open the file later.
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor
