"""Short paths to the folder of the server's socket.

The path of a unix socket has at most about a hundred bytes. The server names its socket relative to its data folder, so
only clients need a short path. They use a symbolic link to the folder. The mode of the data folder still protects the
socket. If the link is deleted, the next client creates it again.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from pgface.database.embedded.settings import PORT
from pgface.errors import EmbeddedPostgresError
from pgface.system.file_systems import is_unsupported

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103


def reachable(folder: Path) -> Path:
    """Return the folder itself, or a link to it if its path is too long for a socket.

    Raises:
        EmbeddedPostgresError: there is no place for such a link that other users of the machine cannot tamper with.

    """
    if _fits(folder):
        return folder
    link = _link(folder)
    try:
        link.symlink_to(folder)
    except FileExistsError:
        # Another user may have created it first. Only our own link to this folder is safe.
        if link.lstat().st_uid != os.geteuid() or not link.is_symlink() or link.readlink() != folder:
            raise _too_long(folder) from None
    except OSError as error:
        if not is_unsupported(error):
            raise
        raise _too_long(folder) from error
    return link


def delete_link(folder: Path) -> None:
    """Delete the link to a folder, if there is one."""
    if not _fits(folder):
        _link(folder).unlink(missing_ok=True)


def _link(folder: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    for place in (os.environ.get("XDG_RUNTIME_DIR"), "/run", tempfile.gettempdir()):
        link = Path(place or "/nonexistent", f"pgface-{os.geteuid()}-{digest}")
        if _fits(link) and os.access(link.parent, os.W_OK) and _is_protected(link.parent):
            return link
    raise _too_long(folder)


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES


def _is_protected(folder: Path) -> bool:
    """Whether only the owner of a link in this folder can replace it."""
    status = folder.stat()
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid in (0, os.geteuid()) and (not shared or bool(status.st_mode & stat.S_ISVTX))


def _too_long(folder: Path) -> EmbeddedPostgresError:
    return EmbeddedPostgresError(
        f"The path of {folder} is too long for a socket, and there is no safe place for a link to it. "
        "Set PGFACE_DATA_DIR to a shorter path."
    )
