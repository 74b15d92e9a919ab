"""Folders that only their owner can read."""

from __future__ import annotations

from pathlib import Path


def private_folder(folder: Path) -> Path:
    """Make a folder and its missing parents with mode 0700, and return it.

    Raises:
        OSError: the folder cannot be made.

    """
    # One by one, because `parents=True` gives this mode to the last folder only.
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder
