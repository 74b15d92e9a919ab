"""Embeddings of photos that were evaluated before, by the hash of their content, so that a second run is instant.

Embeddings are biometric data: only their owner may read the folder, and what was not needed for 30 days is removed
by the next evaluation that remembers anything.
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
_BYTES = 4 * EMBEDDING_DIMENSION
_NORM_TOLERANCE = 1e-3

_OF_THE_FACE = (NoFaceError, SeveralFacesError, LowQualityError)

Remembered = NDArray[np.float32] | PhotoError
"""The embedding of a photo, or why its face is refused."""


class EmbeddingCache:
    """A folder of embeddings that were made in one way."""

    def __init__(self, folder: Path, made_by: object) -> None:
        """Open it, and remove what nobody needed for long.

        Args:
            folder: of all caches.
            made_by: whatever decides what an embedding is: the model, which face of a photo, the limits of quality.

        Raises:
            StorageError: the folder cannot be written.

        """
        self._root = folder
        self._folder = folder / hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]
        with _writing(self._folder):
            private_folder(folder)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for private in (folder, self._folder):
                make_private(private, 0o700)
        self._remove_old()

    def get(self, content_sha256: str, name: str) -> Remembered | None:
        """What is known of a photo; None for nothing, or nothing that can be read.

        Args:
            content_sha256: of the file.
            name: of the file, for the sentence of a refusal.

        """
        file = self._file(content_sha256)
        try:
            data = file.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # then it is forgotten too early
            os.utime(file)
        if len(data) == _BYTES:
            embedding = np.frombuffer(data, "<f4").astype(np.float32)
            return embedding if abs(float(embedding @ embedding) - 1) < _NORM_TOLERANCE else None
        try:
            refusal = json.loads(data)
            kind = getattr(errors, refusal["error"])
            return kind(f"{name}: {refusal['reason']}") if issubclass(kind, _OF_THE_FACE) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, content_sha256: str, name: str, found: NDArray[np.float32] | PgfaceError) -> None:
        """Remember a photo's embedding, or why its face is refused.

        Other refusals are not remembered: they may go by a setting, or by a package that is installed then.

        Raises:
            StorageError: the file cannot be written.

        """
        if isinstance(found, PgfaceError):
            if not isinstance(found, _OF_THE_FACE):
                return
            reason = str(found).removeprefix(f"{name}: ")
            data = json.dumps({"error": type(found).__name__, "reason": reason}).encode()
        else:
            data = found.astype("<f4").tobytes()
        with _writing(self._folder), tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(data)  # readable by its owner only, and under its name only when it is whole
        with _writing(self._folder):
            Path(file.name).replace(self._file(content_sha256))

    def _file(self, content_sha256: str) -> Path:
        return self._folder / content_sha256

    def _remove_old(self) -> None:
        oldest = time.time() - KEPT_DAYS * 86_400
        for file in self._root.glob("*/*"):
            with suppress(OSError):  # somebody else was faster, or it is somebody else's
                if file.stat().st_mtime < oldest:
                    file.unlink()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder}: it cannot be written ({reason_with_owner(error, folder)}); "
            "free the disk or the folder, or use `--no-cache`."
        ) from error


def forget(folder: Path) -> None:
    """Remove all embeddings that were kept.

    Raises:
        StorageError: they cannot be removed.

    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"{folder}: it cannot be removed ({error.strerror}); remove the folder yourself.") from error
