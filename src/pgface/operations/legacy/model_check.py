"""Verifies which model made the old embeddings, by embedding some photos again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from pgface.errors import MigrationError, PhotoError
from pgface.faces.engines.base import Engine
from pgface.faces.face_choice import ChosenFace, choose_one
from pgface.faces.models.registry import model_defaults
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.operations.legacy.installation import OldInstallation, OldPhoto
from pgface.operations.legacy.photo_search import FoundPhotos

_SAMPLE_PHOTOS = 12
_MAX_EMBEDDINGS_PER_USER = 50


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """The result of embedding photos again."""

    photos: int
    """The number of compared photos."""
    similarity: float
    """The median similarity of the photos to the nearest embedding of their user. 0 without photos."""


def check_model(engine: Engine, old: OldInstallation, found: FoundPhotos, limits: PhotoLimits) -> ModelCheck:
    """Embed some photos again, and compare them with the embeddings of their users.

    Embeddings of two different models are unrelated, and their similarity is near 0.

    Raises:
        MigrationError: the median similarity is below the model's threshold, so another model made the embeddings.

    """
    similarities: list[float] = []
    for photo, file in _candidates(old, found):
        similarity = _similarity(engine, old, photo, file, limits)
        if similarity is not None:
            similarities.append(similarity)
        if len(similarities) == _SAMPLE_PHOTOS:
            break
    if not similarities:
        return ModelCheck(0, 0.0)
    typical = median(similarities)
    name = engine.identity.name
    if typical < model_defaults(name).verify_threshold:
        raise MigrationError(
            f"{len(similarities)} photos were embedded again by {name}, and are not similar to the embeddings of their "
            f"users (median {typical:.2f}). As `model`, give the one that made these."
        )
    return ModelCheck(len(similarities), typical)


def _candidates(old: OldInstallation, found: FoundPhotos) -> list[tuple[OldPhoto, Path]]:
    """Choose photos with a file, of users with embeddings. The first photo of each user comes before the others."""
    owners = set(np.unique(old.owners).tolist())
    photos = [photo for photo in old.photos if photo.user_id in owners]
    first = {photo.user_id: photo for photo in reversed(photos)}
    others = [photo for photo in photos if photo is not first[photo.user_id]]
    chosen = [*first.values(), *others][: 20 * _SAMPLE_PHOTOS]
    return [(photo, found.files[photo.id]) for photo in chosen if photo.id in found.files]


def _similarity(engine: Engine, old: OldInstallation, photo: OldPhoto, file: Path, limits: PhotoLimits) -> float | None:
    try:
        with open_photo(file, limits, reduced=True) as opened:
            face = choose_one(engine, opened, ChosenFace(photo.filename, "largest"))
    except PhotoError:
        return None
    rows = np.flatnonzero(old.owners == photo.user_id)[:_MAX_EMBEDDINGS_PER_USER]
    return float((old.embeddings(rows) @ face.embedding).max())
