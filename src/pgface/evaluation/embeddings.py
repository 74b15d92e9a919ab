"""Embeds the photos to evaluate, and lists those without a usable face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.errors import EvaluationError, ModelError, PgfaceError
from pgface.evaluation.cache import EmbeddingCache
from pgface.evaluation.photos import LabelledPhoto
from pgface.gallery.workers import EmbeddedFile, PhotoTask, PhotoWorkers, content_sha256

OnProgress = Callable[[int, int], None]
"""Called after every photo with the numbers of processed and of all photos."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A photo without a usable face: a failure to enroll (ISO/IEC 19795-1)."""

    photo: LabelledPhoto
    error: str
    """The name of the error class."""
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhotos:
    """Photos of people, with their embeddings."""

    photos: tuple[LabelledPhoto, ...]
    """The photos with a usable face."""
    embeddings: NDArray[np.float32]
    """Shape (n, 512), float32, norm 1: the embeddings of these photos."""
    refusals: tuple[Refusal, ...]
    """The photos without a usable face."""

    @property
    def people(self) -> tuple[str, ...]:
        """The people who have a photo with a usable face, in the order of their first photos."""
        return tuple(dict.fromkeys(photo.person for photo in self.photos))

    @property
    def owners(self) -> NDArray[np.int64]:
        """Shape (n,): the index in `people` of each photo's person."""
        places = {person: place for place, person in enumerate(self.people)}
        return np.array([places[photo.person] for photo in self.photos], np.int64)

    @property
    def failure_to_enroll_rate(self) -> float:
        """Share of photos without a usable face."""
        return len(self.refusals) / (len(self.photos) + len(self.refusals))

    def reasons(self) -> Counter[str]:
        """Count the refused photos by class of error."""
        return Counter(refusal.error for refusal in self.refusals)

    def missed_searches(self) -> NDArray[np.int64]:
        """Count the photos without a usable face of each person, shape (p,). Such a photo is a search that misses."""
        counted = Counter(refusal.photo.person for refusal in self.refusals)
        return np.array([counted[person] for person in self.people], np.int64)


def embed_photos(
    photos: Sequence[LabelledPhoto],
    workers: PhotoWorkers,
    *,
    max_bytes: int,
    cache: EmbeddingCache | None = None,
    on_progress: OnProgress | None = None,
) -> EmbeddedPhotos:
    """Embed photos, or read their embeddings from the cache.

    Args:
        photos: the photos to embed.
        workers: the workers that embed.
        max_bytes: maximum size of a photo file.
        cache: the cache of earlier embeddings.
        on_progress: see `OnProgress`.

    Raises:
        EvaluationError: no photo has a usable face.
        ModelError: the model failed.
        WorkerEndedError: a worker process ended.
        StorageError: the cache cannot be written.

    """
    found: list[NDArray[np.float32] | PgfaceError | None] = [None] * len(photos)
    done = 0

    def progressed() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, len(photos))

    tasks = []
    for number, photo in enumerate(photos):
        content = content_sha256(photo.file, max_bytes) if cache is not None else None
        if cache is not None and content is not None:
            found[number] = cache.get(content, photo.file.name)
        if found[number] is None:
            tasks.append(_Task(photo.file, frozenset(), number, content))
        else:
            progressed()
    for task, embedded in workers.embed(tasks):
        if isinstance(embedded, ModelError):
            raise embedded
        result = embedded.face.embedding if isinstance(embedded, EmbeddedFile) else embedded
        found[task.number] = result
        if cache is not None and task.content is not None and result is not None:
            cache.put(task.content, task.file.name, result)
        progressed()
    return _collected(photos, found)


@dataclass(frozen=True, slots=True)
class _Task(PhotoTask):
    number: int
    content: str | None
    """The file's SHA-256. None without a cache, or if the file cannot be a photo."""


def _collected(
    photos: Sequence[LabelledPhoto], found: Sequence[NDArray[np.float32] | PgfaceError | None]
) -> EmbeddedPhotos:
    usable = [(photo, result) for photo, result in zip(photos, found, strict=True) if isinstance(result, np.ndarray)]
    refusals = tuple(
        Refusal(photo, type(result).__name__, str(result))
        for photo, result in zip(photos, found, strict=True)
        if isinstance(result, PgfaceError)
    )
    if not usable:
        raise EvaluationError(f"No photo of {len(photos):,} has a usable face. The first: {refusals[0].reason}")
    return EmbeddedPhotos(tuple(photo for photo, _ in usable), np.stack([found for _, found in usable]), refusals)


def pair_rows(embedded: EmbeddedPhotos, photos: Sequence[LabelledPhoto]) -> NDArray[np.int64]:
    """Return the row of each photo among the embeddings, shape (n,). The refusals have the rows after these."""
    refused = [refusal.photo for refusal in embedded.refusals]
    rows = {photo.file: row for row, photo in enumerate([*embedded.photos, *refused])}
    return np.array([rows[photo.file] for photo in photos], np.int64)
