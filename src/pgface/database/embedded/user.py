"""The user that runs the embedded PostgreSQL if root starts it, and the file permissions that this user needs.

PostgreSQL refuses to run as root. pgface lets its user pass through folders, but not list them. It logs every folder
that it changes.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgface.database.embedded.locks import exclusive
from pgface.errors import EmbeddedPostgresError

if sys.platform != "win32":
    import pwd

SYSTEM_USER = "pgface"
_LOCK: Final = Path("/run/pgface-user.lock")
"""Only root can write there, as only root creates users."""

_log = logging.getLogger("pgface.database")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The user that owns the data folder and runs the server."""

    uid: int
    gid: int

    def allow_passing(self, folders: Iterable[Path]) -> None:
        """Let the user pass through these folders, but not list them."""
        closed = [folder for folder in folders if not folder.stat().st_mode & self._execute_bit(folder)]
        for folder in closed:
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | self._execute_bit(folder))
        if closed:
            _log.info("PostgreSQL's user may now pass through these folders: %s", ", ".join(map(str, closed)))

    def allow_reading(self, programs: Iterable[Path]) -> None:
        """Let all users read these folders of programs, as after an installation with the usual umask."""
        for top in programs:
            for path in (top, *top.rglob("*")):
                if not path.is_symlink():
                    mode = stat.S_IMODE(path.stat().st_mode)
                    path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))
            _log.info("All users may now read PostgreSQL's programs in %s", top)

    def own(self, folder: Path) -> None:
        """Make this user the owner of a folder with everything in it."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def _execute_bit(self, folder: Path) -> int:
        owner = folder.stat()
        if owner.st_uid == self.uid:
            return stat.S_IXUSR
        return stat.S_IXGRP if owner.st_gid == self.gid else stat.S_IXOTH


def server_user(folder: Path) -> ServerUser | None:
    """Return the user for a server on this folder, or None if this process is not root and runs the server itself.

    A user's folder still belongs to that user, also if root uses it. A folder of root goes to a system user, which is
    created if necessary.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.lstat()
    if owner.st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid)
    entry = _entry() or _create()
    return ServerUser(entry.pw_uid, entry.pw_gid)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    try:
        # useradd checks the name before it waits for its own lock. So of two at a time, both succeed, and the second
        # one gives the user another number.
        with exclusive(_LOCK):
            reason = None if _entry() else _run_useradd()
    except OSError as error:
        reason = f"{_LOCK}: {error.strerror}"
    if entry := _entry():
        return entry
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} for it could not be created ({reason}). "
        "Create that user, run pgface as another user, or set PGFACE_DATABASE_URL."
    )


def _run_useradd() -> str | None:
    """Return the reason if it fails."""
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not useradd:
        return "there is no useradd here"
    command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    run = subprocess.run(
        [*command, "--shell", "/usr/sbin/nologin", SYSTEM_USER], capture_output=True, text=True, check=False
    )
    if run.returncode == 0:
        return None
    return (run.stderr.strip() or f"useradd ended with {run.returncode}").splitlines()[-1]
