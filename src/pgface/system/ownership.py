"""Whose a file is that this process may not use: in containers the usual reason is another user's number."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def reason_with_owner(error: OSError, path: str | os.PathLike[str]) -> str:
    """Why a file or folder could not be used, with its owner if that is not the user of this process."""
    why = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM) and (owner := other_owner(path)):
        return f"{why}: {owner}"
    return why


def other_owner(path: str | os.PathLike[str]) -> str | None:
    """Who owns a path, or what is nearest above it, if that is another user than this process's; None otherwise."""
    if not hasattr(os, "geteuid"):
        return None
    path = Path(path)
    for place in (path, *path.parents):
        with suppress(OSError):  # it does not exist, or this user may not enter the folder that it is in
            about = place.stat()
            # All users may write to such a folder, so its owner is not the reason.
            if about.st_uid == os.geteuid() or (stat.S_ISDIR(about.st_mode) and about.st_mode & stat.S_ISVTX):
                return None
            return f"{place} belongs to user {about.st_uid}, and pgface runs as user {os.geteuid()}"
    return None
