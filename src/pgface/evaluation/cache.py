"""Caches the embeddings of evaluated photos by the hash of their content, so that a second run is fast.

Embeddings are biometric data, so only the owner may read the folder. An evaluation that uses the cache deletes entries
that were not used for 30 days.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgface import errors
from pgface.errors import LowQualityError, NoFaceError, PgfaceError, PhotoError, SeveralFacesError, StorageError
from pgface.system.file_systems import make_private
from pgface.system.ownership import reason_with_owner
from pgface.system.private_folder import private_folder
from pgface.vectors import EMBEDDING_DIMENSION

KEPT_DAYS = 30
_EMBEDDING_BYTES = 4 * EMBEDDING_DIMENSION
_NORM_TOLERANCE = 1e-5
"""Of the squared norm. It leaves room for the rounding of 512 float32 numbers, about 1e-6."""
_CACHED_ERRORS = (NoFaceError, SeveralFacesError, LowQualityError)


class EmbeddingCache:
    """A folder of embeddings that the same model made with the same options."""

    def __init__(self, folder: Path, made_by: object) -> None:
        """Open the cache, and delete entries that were not used for 30 days.

        Args:
            folder: the folder of all caches.
            made_by: everything that an embedding depends on: the model, the choice of a face, the limits of quality.

        Raises:
            StorageError: the folder is not writable.

        """
        self._root = folder
        self._folder = folder / hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]
        with _writing(self._folder):
            private_folder(folder)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for private in (folder, self._folder):
                make_private(private, 0o700)
        self._delete_old()

    def get(self, content_sha256: str, name: str) -> NDArray[np.float32] | PhotoError | None:
        """Return the embedding of a photo, or the error that refused its face. None if there is no valid entry.

        The error message names the file by its present `name`.
        """
        file = self._file(content_sha256)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # after an error, the entry is only deleted too early
            os.utime(file)
        if len(data) == _EMBEDDING_BYTES:
            embedding = np.frombuffer(data, "<f4").astype(np.float32)
            return embedding if abs(float(embedding @ embedding) - 1) < _NORM_TOLERANCE else None
        try:
            refusal = json.loads(data)
            kind = getattr(errors, refusal["error"])
            return kind(f"{name}: {refusal['reason']}") if issubclass(kind, _CACHED_ERRORS) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, content_sha256: str, name: str, found: NDArray[np.float32] | PgfaceError) -> None:
        """Store a photo's embedding, or the error that refused its face.

        Other errors are not stored, because another setting or package may avoid them.

        Raises:
            StorageError: the file cannot be written.

        """
        if isinstance(found, PgfaceError):
            if not isinstance(found, _CACHED_ERRORS):
                return
            reason = str(found).removeprefix(f"{name}: ")
            data = json.dumps({"error": type(found).__name__, "reason": reason}).encode()
        else:
            data = found.astype("<f4").tobytes()
        with _writing(self._folder), tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(data)  # only the owner can read it, and only a complete file gets the final name
        with _writing(self._folder):
            Path(file.name).replace(self._file(content_sha256))

    def _file(self, content_sha256: str) -> Path:
        return self._folder / content_sha256

    def _delete_old(self) -> None:
        oldest = time.time() - KEPT_DAYS * 86_400
        for file in self._root.glob("*/*"):
            with suppress(OSError):  # another process has deleted it, or another user owns it
                if file.stat().st_mtime < oldest:
                    file.unlink()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder}: it cannot be written ({reason_with_owner(error, folder)}). "
            "Free some disk space, change the permissions of the folder, or use `remember=False`."
        ) from error


def delete_cache(folder: Path) -> None:
    """Delete all stored embeddings.

    Raises:
        StorageError: they cannot be deleted.

    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"{folder}: it cannot be deleted ({error.strerror}). Delete the folder yourself.") from error
