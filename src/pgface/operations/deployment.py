"""Creates the secrets of a deployment with containers, as files that the compose files mount."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pgface.errors import StorageError

CONTAINER_ID = 1000
"""The default user and group of the containers, as in `compose.yaml`."""
_UID_MAP = Path("/proc/self/uid_map")
_USER, _DATABASE = "faceuser", "facedb"
_ADDRESSES = (
    *("postgres:5432", "pgbouncer:6432", "db1:5432", "db2:5432", "db3:5432"),
    *("localhost:5432", "localhost:6432", "127.0.0.1:5432", "127.0.0.1:6432"),
)
"""The addresses from another container of `compose.yaml` or `compose.replicas.yaml`, and from the machine itself."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of the files as numbers, because names differ between a machine and its containers."""

    uid: int
    gid: int


def default_owner(uid_map: Path = _UID_MAP) -> Owner:
    """Return this process's user, or the containers' user if this is root, because containers do not run as root.

    In a container of a rootless engine, root is the user who runs the engine, and is the owner.
    """
    if os.geteuid() == 0 and not _is_root_of_one_user(uid_map):
        return Owner(CONTAINER_ID, CONTAINER_ID)
    return Owner(os.geteuid(), os.getegid())


def _is_root_of_one_user(uid_map: Path) -> bool:
    """Whether user 0 is a single other user outside of the container: `0 1000 1` (user_namespaces(7))."""
    with suppress(OSError):  # not Linux
        here, outside, count = map(int, uid_map.read_text(encoding="ascii").split()[:3])
        return here == 0 != outside and count == 1
    return False


def make_secrets(folder: Path, owner: Owner) -> dict[str, str]:
    """Create new random passwords as files of mode 0600, all or none. Return the purpose of each file.

    Compose mounts a file with its owner and mode, and libpq refuses a password file that others may read.

    Raises:
        StorageError: one of the files exists already, or the folder cannot be written.

    """
    password, pgadmin_password = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    pgpass = "\n".join(f"{address}:{_DATABASE}:{_USER}:{password}" for address in _ADDRESSES)
    files = {
        "postgres_password": (password, f"the password of {_USER} in PostgreSQL"),
        "pgpass": (pgpass, "the same for pgface, psql and other programs with libpq (PGPASSFILE)"),
        "pgbouncer_userlist": (f'"{_USER}" "{password}"', "the same for pgbouncer"),
        "pgadmin_password": (pgadmin_password, "the password of pgAdmin's first user"),
    }
    _write(folder, {name: text for name, (text, _) in files.items()}, owner)
    return {name: purpose for name, (_, purpose) in files.items()}


def _write(folder: Path, texts: Mapping[str, str], owner: Owner) -> None:
    made: list[Path] = []
    try:
        with _translated_errors(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in texts.items():
                file = folder / name
                # O_NOFOLLOW and O_EXCL: do not follow links, and do not replace files.
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                made.append(file)
                with open(descriptor, "w", encoding="ascii") as stream:
                    stream.write(f"{text}\n")
                    if (owner.uid, owner.gid) != (os.geteuid(), os.getegid()):
                        os.fchown(descriptor, owner.uid, owner.gid)
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise


@contextmanager
def _translated_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise StorageError(
            f"{error.filename} exists already, so nothing was created. PostgreSQL keeps the password of its first "
            "start, so keep these files, or give another folder."
        ) from error
    except PermissionError as error:
        raise StorageError(
            f"{error.filename or folder}: {(error.strerror or 'not permitted').lower()}, so nothing was created. "
            "Give a folder of yours, or run this as root to create files for another user."
        ) from error
    except OSError as error:
        raise StorageError(f"{error.filename or folder}: {error.strerror}, so nothing was created.") from error
