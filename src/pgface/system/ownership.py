"""Names the owner of a file that this process cannot use. In containers, the user id is often wrong."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def reason_with_owner(error: OSError, path: str | os.PathLike[str]) -> str:
    """Return the reason of an error, with the owner of the path if that is another user."""
    why = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM) and (owner := other_owner(path)):
        return f"{why}: {owner}"
    return why


def other_owner(path: str | os.PathLike[str]) -> str | None:
    """Describe the owner of a path, or of its nearest existing parent, if that is another user."""
    if not hasattr(os, "geteuid"):
        return None
    path = Path(path)
    for place in (path, *path.parents):
        with suppress(OSError):  # the path does not exist, or this user cannot enter its folder
            about = place.stat()
            # All users can write to such a folder, so its owner is not the reason.
            if about.st_uid == os.geteuid() or (stat.S_ISDIR(about.st_mode) and about.st_mode & stat.S_ISVTX):
                return None
            return f"{place} belongs to user {about.st_uid}, and pgface runs as user {os.geteuid()}"
    return None
