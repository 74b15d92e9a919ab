"""Operations that some file systems do not support.

exFAT, FUSE and many network shares have no hard links, modes or locks. pgface needs only POSIX rename, which makes a
complete file or folder appear under its name.
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

_UNSUPPORTED: Final = {
    getattr(errno, name)
    for name in ("EINVAL", "ENOLCK", "ENOSYS", "ENOTSUP", "ENOTTY", "EOPNOTSUPP", "EPERM")
    if hasattr(errno, name)
}
"""The error numbers with which file systems and the kernel report an unsupported operation."""


def is_unsupported(error: OSError) -> bool:
    """Whether a call failed because the file system does not support the operation."""
    return error.errno in _UNSUPPORTED


def make_private(path: int | Path, mode: int) -> None:
    """Give one of pgface's files this mode, if the file system has modes. The path can be a descriptor.

    Raises:
        OSError: the file belongs to another user, or is not accessible.

    """
    try:
        os.chmod(path, mode)
    except OSError as error:
        # Without modes in the file system, only mount options can change them. `pgface doctor` reports the folder.
        if not is_unsupported(error) or os.stat(path).st_uid not in (os.geteuid(), 0):
            raise


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, if the file system supports that.

    Raises:
        OSError: the names cannot be written.

    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not is_unsupported(error):
            raise
    finally:
        os.close(descriptor)


def has_locks(folder: Path) -> bool:
    """Whether `flock` can lock the files of a folder.

    Raises:
        OSError: the folder is not writable.

    """
    if sys.platform == "win32":
        return False
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if is_unsupported(error):
                return False
            raise
    return True


def write_once(file: Path, text: str) -> str:
    """Write a small file unless it exists, and return its content. If several processes write, the first one wins.

    Raises:
        OSError: the file cannot be read or written. Nothing is left behind.

    """
    while True:
        with suppress(FileNotFoundError):
            return file.read_text(encoding="utf-8")
        _write_first(file, text)


def _write_first(file: Path, text: str) -> None:
    """Create the file with this text, or with the text of the process that was first.

    A rename onto a folder that is not empty fails. So the first process that renames its folder to the common name
    wins. Every process then creates the same file from the content of that folder.
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
        with suppress(FileNotFoundError):  # another process has created the file, and deleted the folder
            if not file.exists():
                copy.write_text((claim / file.name).read_text(encoding="utf-8"), encoding="utf-8")
                copy.replace(file)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        with suppress(OSError):
            copy.unlink()
        if file.exists():
            shutil.rmtree(claim, ignore_errors=True)
