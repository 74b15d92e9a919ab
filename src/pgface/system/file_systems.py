"""What not every file system has. exFAT, FUSE and many network shares lack hard links, modes, locks, or more.

pgface needs no more of one than POSIX rename: a whole file, or a whole folder, appears under its name at once.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

if sys.platform != "win32":
    import fcntl

_LACKING: Final = {
    getattr(errno, name)
    for name in ("EINVAL", "ENOLCK", "ENOSYS", "ENOTSUP", "ENOTTY", "EOPNOTSUPP", "EPERM")
    if hasattr(errno, name)
}
"""How file systems and the kernel say that something does not exist there."""


def is_lacking(error: OSError) -> bool:
    """Whether a call failed because the file system does not have what was asked for."""
    return error.errno in _LACKING


def make_private(path: int | Path, mode: int) -> None:
    """Give a file of ours this mode, where the file system keeps modes.

    Args:
        path: a path or a descriptor.
        mode: as for `os.chmod`.

    Raises:
        OSError: it belongs to another user, or cannot be reached.

    """
    try:
        os.chmod(path, mode)
    except OSError as error:
        # Where modes are those of the mount, only its options can change them; `pgface doctor` names the folder.
        if not is_lacking(error) or os.stat(path).st_uid not in (os.geteuid(), 0):
            raise


def sync_folder(folder: Path) -> None:
    """Have the folder's names on disk, where the file system can be asked for that.

    Raises:
        OSError: they cannot be written.

    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_lacking(error):
            raise
    finally:
        os.close(descriptor)


def has_locks(folder: Path) -> bool:
    """Whether files of a folder can be locked by `flock`.

    Raises:
        OSError: nothing can be written there.

    """
    if sys.platform == "win32":
        return False
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if is_lacking(error):
                return False
            raise
    return True


def first_text(file: Path, text: str) -> str:
    """Write a small file unless there is one, and return what it holds; of processes at once the first one's holds.

    Raises:
        OSError: it cannot be read or written; nothing is left behind.

    """
    while True:
        with suppress(FileNotFoundError):
            return file.read_text(encoding="utf-8")
        _offer(file, text)


def _offer(file: Path, text: str) -> None:
    """Let the file appear with this text, or with that of another process.

    A rename onto a folder that holds something fails, so the first to give its folder the common name wins. Then the
    file is made of what is in that folder, by any process that finds the folder: all of them make the same file.
    """
    own, copy = (file.with_name(f"{file.name}-{uuid4().hex}") for _ in range(2))
    claim = file.with_name(f"{file.name}-first")
    try:
        own.mkdir(mode=0o700)
        (own / file.name).write_text(text, encoding="utf-8")
        try:
            own.rename(claim)
        except OSError:
            if not claim.is_dir() and not file.exists():
                raise
        with suppress(FileNotFoundError):  # another process has made the file, and removed the folder
            if not file.exists():
                copy.write_text((claim / file.name).read_text(encoding="utf-8"), encoding="utf-8")
                copy.replace(file)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        with suppress(OSError):
            copy.unlink()
        if file.exists():
            shutil.rmtree(claim, ignore_errors=True)
