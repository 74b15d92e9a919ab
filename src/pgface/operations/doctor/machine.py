"""This machine: who may look into the data folder, and how much room there is."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from pgface.operations.doctor.finding import Finding, ok
from pgface.settings import MEBI, Settings

LEAST_FREE = 1024 * MEBI
LEAST_SHARE = 0.05
_OF_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
"""Passing through (x) is not among them: the embedded server of root, a user of its own, has to."""


def data_folder(settings: Settings) -> Iterator[Finding]:
    """Nobody else may look into the data folder, for it holds faces."""
    check = "data folder"
    if settings.data_dir.exists() and not settings.data_dir.is_dir():
        yield Finding(check, "problem", f"{settings.data_dir} is no folder.", "Set PGFACE_DATA_DIR to a folder.")
        return
    if not settings.data_dir.is_dir():
        yield ok(check, f"{settings.data_dir} is not there yet; it is made when something is to be kept.")
        return
    folders = _folders(settings)
    open_ones = [path for path in folders if path.stat().st_mode & _OF_OTHERS]
    for path in open_ones:
        yield Finding(
            check,
            "problem",
            f"Others on this machine may look into {path} (mode {stat.S_IMODE(path.stat().st_mode):04o}).",
            f"chmod go-rw {shlex.quote(str(path))}",
            _close_to_others,
        )
    closed_to_us = [path for path in folders if path != settings.postgres_dir and not os.access(path, os.W_OK)]
    for path in closed_to_us:
        yield Finding(
            check,
            "problem",
            f"This user may not write into {path}.",
            f"Run pgface as its owner ({path.stat().st_uid}), or let that user run: "
            f"chown -R {os.getuid()} {shlex.quote(str(path))}",
        )
    if not open_ones and not closed_to_us:
        yield ok(check, f"{settings.data_dir} is this user's, and nobody else looks into it.")


def _close_to_others(settings: Settings) -> None:
    for path in _folders(settings):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OF_OTHERS)


def _folders(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir, settings.photos_dir, settings.postgres_dir) if path.is_dir()]


def free_disk(settings: Settings) -> Iterator[Finding]:
    """There is room for what is to come."""
    there = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    usage = shutil.disk_usage(there)
    told = f"{usage.free / 2**30:,.1f} of {usage.total / 2**30:,.0f} GB are free where {settings.data_dir} is."
    if usage.free < max(LEAST_FREE, LEAST_SHARE * usage.total):
        yield Finding("free disk", "problem", told, "Make room there, or move the folder and set PGFACE_DATA_DIR.")
    else:
        yield ok("free disk", told)
