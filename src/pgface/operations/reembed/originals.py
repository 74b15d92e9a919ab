"""Finds the original photos of enrolled faces in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pgface.errors import GalleryError, PgfaceError
from pgface.gallery.enroll_folder import person_of
from pgface.gallery.workers import content_sha256
from pgface.text import same_email


class Originals:
    """The photos below a folder, by their content, and by their person's folder and their name."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Read every file of the folder, to compute its SHA-256.

        Raises:
            GalleryError: there is no such folder.

        """
        if not folder.is_dir():
            raise GalleryError(f"{folder}: this folder does not exist. Give the folder of the original photos.")
        self._by_content: dict[str, Path] = {}
        self._by_name: dict[tuple[str, str], Path] = {}
        people: dict[Path, str | None] = {}
        for file in _files(folder):
            if (digest := content_sha256(file, max_bytes)) is None:
                continue
            self._by_content.setdefault(digest, file)
            if file.parent.parent == folder:
                if file.parent not in people:
                    people[file.parent] = _email(file.parent.name)
                if email := people[file.parent]:
                    self._by_name[email, file.name] = file

    def by_content(self, sha256: str | None) -> Path | None:
        """Return the photo with this hexadecimal SHA-256."""
        return self._by_content.get(sha256 or "")

    def by_name(self, email: str, filename: str) -> Path | None:
        """Return the photo of this name in the folder of a person, which is named as for `pgface enroll --folder`."""
        return self._by_name.get((same_email(email), filename))


def _files(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(path) / name for name in sorted(names) if not name.startswith("."))


def _email(folder_name: str) -> str | None:
    try:
        return person_of(folder_name).email
    except PgfaceError:
        return None
