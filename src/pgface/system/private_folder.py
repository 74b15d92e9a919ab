"""Folders that nobody else may look into."""

from __future__ import annotations

from pathlib import Path


def private_folder(folder: Path) -> Path:
    """Make a folder and whatever is missing above it with mode 0700, and return it.

    Raises:
        OSError: it cannot be made.

    """
    # One by one: with `parents=True` only the last would have this mode.
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder
