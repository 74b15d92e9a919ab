"""Photo files of the old installation, copied into the gallery's own folder."""

from __future__ import annotations

from pathlib import Path, PurePath, PureWindowsPath

from PIL import Image, JpegImagePlugin

from pgface.errors import PhotoError
from pgface.faces.image import PhotoLimits, open_photo
from pgface.legacy.installation import OldPhoto
from pgface.photo_files import PhotoBatch

_TELLING = ("APP1", "APP13", "COM")
"""Segments of a JPEG that tell of more than the picture: EXIF and XMP, Photoshop's, comments."""


class PhotoCopies:
    """Copies photo files; keeps account of those that it could not."""

    def __init__(self, folder: Path | None, batch: PhotoBatch, limits: PhotoLimits) -> None:
        """Copy nothing yet.

        Args:
            folder: where the old files are; None to copy none.
            batch: takes the copies.
            limits: what a photo may cost.

        """
        self._folder = folder
        self._batch = batch
        self._limits = limits
        self.copied = 0
        self.missing: list[str] = []
        self.unusable: list[str] = []

    def copy(self, photo: OldPhoto) -> str:
        """Copy a photo's file and return its path for the row: the old one where there is no file to copy."""
        if self._folder is None:
            return photo.filepath
        file = find_file(self._folder, photo)
        if file is None:
            self.missing.append(f"photos {photo.id}: {photo.filepath}")
            return photo.filepath
        try:
            filepath = self._copy(file)
        except PhotoError as error:
            self.unusable.append(f"photos {photo.id}: {error}")
            return photo.filepath
        self.copied += 1
        return filepath

    def _copy(self, file: Path) -> str:
        with open_photo(file, self._limits) as opened:
            if _is_bare_jpeg(file):
                return self._batch.add_jpeg(file.read_bytes())
            return self._batch.add(opened.pixels)


def find_file(folder: Path, photo: OldPhoto) -> Path | None:
    """The file of a photo below a folder: at its path, or under its name; never outside, wherever its path may lead."""
    root = folder.resolve()
    # The old application may have run on Windows.
    names = (photo.filepath, photo.filename, PurePath(photo.filepath).name, PureWindowsPath(photo.filepath).name)
    for name in dict.fromkeys(names):
        file = (root / name).resolve()
        if name and file.is_relative_to(root) and file.is_file():
            return file
    return None


def _is_bare_jpeg(file: Path) -> bool:
    """Whether a file that can be decoded is a JPEG with nothing in it but the picture, and is copied as it is."""
    with Image.open(file) as opened:
        if not isinstance(opened, JpegImagePlugin.JpegImageFile) or opened.mode != "RGB":
            return False
        return not any(name in _TELLING for name, _ in opened.applist)
