"""Crops that are written together, whose rows are committed in one transaction."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from PIL import Image

from pgface.errors import StorageError
from pgface.faces.pixels import RGBImage
from pgface.gallery.config import read_config
from pgface.gallery.photo_stores.base import PhotoStore, new_path

if TYPE_CHECKING:
    from pgface.gallery.photos import PhotoFiles

_JPEG_QUALITY: Final = 95


class PhotoBatch:
    """Crops that are written, but whose rows are not committed yet."""

    def __init__(self, files: PhotoFiles, location: str | None = None) -> None:
        self._files = files
        self._fixed = location is not None
        self._store = files.current if location is None else files.store(location)
        self._connection: psycopg.Connection | None = None
        self._written: list[str] = []
        self._left: list[tuple[PhotoStore, list[str]]] = []
        """What was written to a store that is no longer the gallery's."""
        self._early: list[EarlyCrop] = []

    def add_early(self, crop: RGBImage) -> EarlyCrop:
        """Compress a crop for `write_early`."""
        return self.add_early_jpeg(_jpeg(crop))

    def add_early_jpeg(self, data: bytes) -> EarlyCrop:
        """Take the bytes of a JPEG for `write_early`."""
        early = EarlyCrop(self, data)
        self._early.append(early)
        return early

    def write_early(self) -> None:
        """Write these crops before the transaction starts. Those that are not used are deleted at the end."""
        if not self._store.writes_early or not self._early:
            return
        for early in self._early:
            early.filepath = new_path(self._store.prefix)
        if not self._put({str(early.filepath): early.jpeg for early in self._early}):
            self._written = []
            self._files.reload()
            self._take_current_store()
            self.write_early()

    def join(self, connection: psycopg.Connection) -> None:
        """Give the batch the transaction of its rows, which has the enrollment lock.

        The gallery's photo store may have changed since this process read it. Then the crops go to the new store.
        """
        self._connection = connection
        if self._fixed:
            return
        config = read_config(connection)
        if config.photo_store != self._store.location:
            self._files.refresh(config)
            self._left.append((self._store, self._written))
            self._take_current_store()

    def _take_current_store(self) -> None:
        self._store, self._written = self._files.current, []
        for early in self._early:
            early.filepath = None

    def add(self, crop: RGBImage) -> str:
        """Write a crop, shape (height, width, 3), uint8, and return the path for its row."""
        return self.add_jpeg(_jpeg(crop))

    def add_jpeg(self, data: bytes | memoryview) -> str:
        """Write the bytes of a JPEG without metadata, and return the path for its row. Call it after `join`."""
        assert self._connection is not None  # noqa: S101 - the caller's order
        filepath = new_path(self._store.prefix)
        if not self._put({filepath: data}):
            raise StorageError(f"The photos are being moved away from {self._store.location}. Try again.")
        self._store.claim(self._connection, filepath)
        return filepath

    def claim(self, filepath: str) -> bool:
        """Whether a crop that was written early still exists. It now belongs to a row of the transaction."""
        assert self._connection is not None  # noqa: S101 - the caller's order
        return self._store.claim(self._connection, filepath)

    def is_stored(self, early: EarlyCrop) -> bool:
        """Read a crop back, and compare its bytes (SHA-256)."""
        stored = None if early.filepath is None else self._store.open(early.filepath, self._connection)
        if stored is None:
            return False
        with stored:
            return hashlib.sha256(stored.read()).digest() == hashlib.sha256(early.jpeg).digest()

    def publish(self) -> None:
        """Move the crops to their final places, and delete the unused ones."""
        self._discard_left()
        unused = {crop.filepath for crop in self._early if not crop.used}
        self._store.discard([filepath for filepath in self._written if filepath in unused])
        self._store.publish([filepath for filepath in self._written if filepath not in unused])

    def discard(self) -> None:
        """Delete the crops."""
        self._discard_left()
        self._store.discard(self._written)

    def _discard_left(self) -> None:
        for store, filepaths in self._left:
            store.discard(filepaths)

    def _put(self, crops: dict[str, bytes | memoryview]) -> bool:
        self._written += crops  # before, so that a failed write is cleaned up
        return self._store.put(crops, self._connection)


@dataclass(slots=True, eq=False)
class EarlyCrop:
    """A crop that is written before it is known whether it is enrolled."""

    _batch: PhotoBatch
    jpeg: bytes
    filepath: str | None = None
    """The path for its row, if it was written."""
    used: bool = False

    def use(self) -> str:
        """Keep this crop, and return the path for its row. Call it under the enrollment lock."""
        self.used = True
        # Before this transaction had the lock, the clean-up of another process may have deleted the crop without a row.
        if self.filepath is None or not self._batch.claim(self.filepath):
            self.filepath = self._batch.add_jpeg(self.jpeg)
        return self.filepath


def _jpeg(crop: RGBImage) -> bytes:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, format="JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()
