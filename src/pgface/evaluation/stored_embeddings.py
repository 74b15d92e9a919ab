"""Reads the gallery's own embeddings, to evaluate and audit them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import EvaluationError
from pgface.evaluation.embeddings import EmbeddedPhotos
from pgface.evaluation.photos import LabelledPhoto
from pgface.faces.engines.base import Quality
from pgface.vectors import unit_embeddings

_BATCH_ROWS = 4_096
"""Number of rows in one fetch."""


@dataclass(frozen=True, slots=True)
class StoredFace(LabelledPhoto):
    """An embedding of the gallery. `file` is the crop, or `Path()` without a crop. `person` is the user's e-mail."""

    embedding_id: int
    user_id: int
    photo_id: int | None
    """None for an embedding without a photo."""
    quality: Quality
    """NaN if it is unknown."""
    filepath: str | None = None
    """The path of the crop's row, if it is a crop of this gallery."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredEmbeddings(EmbeddedPhotos):
    """Every embedding of the gallery, by user and in the order of enrollment."""

    photos: tuple[StoredFace, ...]


def stored_embeddings(database: Database, photos_dir: Path, gallery_id: UUID) -> StoredEmbeddings:
    """Read every embedding of the gallery, and scale it to norm 1.

    Args:
        database: the gallery's connections.
        photos_dir: the folder of its crops.
        gallery_id: the first part of the paths of its crops. Other paths are ignored, because any program may write
            rows.

    Raises:
        EvaluationError: no person is enrolled.

    """
    faces: list[StoredFace] = []
    blocks: list[NDArray[np.float32]] = []
    with database.transaction() as connection, connection.cursor(name="stored_embeddings") as cursor:
        cursor.execute(queries()["select_embeddings"], binary=True)
        while rows := cursor.fetchmany(_BATCH_ROWS):
            blocks.append(unit_embeddings(np.stack([row[0].to_numpy() for row in rows])))
            faces += [_face(photos_dir, gallery_id, *row[1:]) for row in rows]
    if not blocks:
        raise EvaluationError("No person is enrolled in this gallery yet. Enroll people first, with `pgface enroll`.")
    return StoredEmbeddings(tuple(faces), np.concatenate(blocks), ())


def _face(
    photos_dir: Path,
    gallery_id: UUID,
    embedding_id: int,
    user_id: int,
    email: str,
    photo_id: int | None,
    filename: str | None,
    filepath: str | None,
    *quality: float | None,
) -> StoredFace:
    what = f"embedding {embedding_id}" if photo_id is None else f"photo {photo_id}, {filename}"
    return StoredFace(
        name=f"{email}: {what}",
        file=_crop(photos_dir, gallery_id, filepath),
        person=email,
        embedding_id=embedding_id,
        user_id=user_id,
        photo_id=photo_id,
        filepath=filepath if _crop(photos_dir, gallery_id, filepath) != Path() else None,
        quality=Quality(*(math.nan if value is None else value for value in quality)),
    )


def _crop(photos_dir: Path, gallery_id: UUID, filepath: str | None) -> Path:
    """Return the file of a crop. `Path()` if the path is not a crop of this gallery."""
    parts = PurePosixPath(filepath or "").parts
    # The parts are the gallery's id, the id of the photos folder, one of 256 folders, and the file.
    if len(parts) != 4 or parts[0] != str(gallery_id) or ".." in parts or not parts[-1].endswith(".jpg"):
        return Path()
    return photos_dir.joinpath(*parts)
