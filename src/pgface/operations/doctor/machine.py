"""Checks of this machine: permissions of the data folder, and free disk space."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from pgface.operations.doctor.finding import Finding, ok, problem
from pgface.settings import MEBI, Settings

MIN_FREE_BYTES = 1024 * MEBI
MIN_FREE_SHARE = 0.05
_RIGHTS_OF_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
"""Without passing through (x): the embedded server, which has its own user if root starts it, needs that."""


def data_folder(settings: Settings) -> Iterator[Finding]:
    """Check that other users cannot read the data folder, which contains faces."""
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        yield problem(f"{settings.data_dir} is not a folder.", "Set PGFACE_DATA_DIR to a folder.")
        return
    if not settings.data_dir.is_dir():
        yield ok(f"{settings.data_dir} does not exist yet. pgface creates it when needed.")
        return
    folders = _folders(settings)
    readable = [path for path in folders if path.stat().st_mode & _RIGHTS_OF_OTHERS]
    for path in readable:
        yield problem(
            f"Other users of this machine may read {path} (mode {stat.S_IMODE(path.stat().st_mode):04o}).",
            f"chmod go-rw {shlex.quote(str(path))}",
            _close_to_others,
        )
    not_writable = [path for path in folders if path != settings.postgres_dir and not os.access(path, os.W_OK)]
    for path in not_writable:
        yield problem(
            f"This user may not write to {path}.",
            f"Run pgface as its owner ({path.stat().st_uid}), or have that user run: "
            f"chown -R {os.getuid()} {shlex.quote(str(path))}",
        )
    if not readable and not not_writable:
        yield ok(f"{settings.data_dir} belongs to this user, and other users cannot read it.")


def _close_to_others(settings: Settings) -> None:
    for path in _folders(settings):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_RIGHTS_OF_OTHERS)


def _folders(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir, settings.photos_dir, settings.postgres_dir) if path.is_dir()]


def free_disk(settings: Settings) -> Iterator[Finding]:
    """Check that the disk has room for more photos and embeddings."""
    existing = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    found = f"{usage.free / 2**30:,.1f} of {usage.total / 2**30:,.0f} GB are free on the disk of {settings.data_dir}."
    if usage.free < max(MIN_FREE_BYTES, MIN_FREE_SHARE * usage.total):
        yield problem(found, "Free disk space, or move the folder and set PGFACE_DATA_DIR.")
    else:
        yield ok(found)
