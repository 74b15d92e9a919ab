"""Copies photo files of the old installation to the gallery's folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, JpegImagePlugin

from pgface.errors import PhotoError
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.gallery.photo_batch import PhotoBatch
from pgface.operations.legacy.installation import OldPhoto
from pgface.operations.legacy.photo_search import FoundPhotos

_METADATA_SEGMENTS = ("APP1", "APP13", "COM")
"""Segments of a JPEG with EXIF and XMP, with Photoshop's data, and with comments."""


class PhotoCopies:
    """Copies photo files, and lists those that could not be copied."""

    def __init__(self, found: FoundPhotos | None, batch: PhotoBatch | None, limits: PhotoLimits) -> None:
        """Prepare the copies.

        Args:
            found: the old files. None copies no file.
            batch: receives the copies. None only checks the files.
            limits: the limits for decoding a photo.

        """
        self._found = found
        self._batch = batch
        self._limits = limits
        self.copied = 0
        self.missing: list[str] = []
        self.unusable: list[str] = []

    def copy(self, photo: OldPhoto) -> str:
        """Copy a photo's file and return the path for its row, or the old path if there is no file."""
        if self._found is None:
            return photo.filepath
        if photo.id not in self._found.files:
            self.missing.append(self._found.missing[photo.id])
            return photo.filepath
        try:
            filepath = self._copy(self._found.files[photo.id])
        except PhotoError as error:
            self.unusable.append(f"photos {photo.id}: {error}")
            return photo.filepath
        self.copied += 1
        return filepath or photo.filepath

    def _copy(self, file: Path) -> str | None:
        with open_photo(file, self._limits) as opened:
            if self._batch is None:
                return None
            if _is_bare_jpeg(file):
                return self._batch.add_jpeg(file.read_bytes())
            return self._batch.add(opened.pixels)


def _is_bare_jpeg(file: Path) -> bool:
    """Whether a file is a JPEG without metadata, which can be copied unchanged."""
    with Image.open(file) as opened:
        if not isinstance(opened, JpegImagePlugin.JpegImageFile) or opened.mode != "RGB":
            return False
        return not any(name in _METADATA_SEGMENTS for name, _ in opened.applist)
