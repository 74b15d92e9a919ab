"""Whether old embeddings came from a model: some photos are embedded again, and compared with their people's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from pgface.errors import MigrationError, PhotoError
from pgface.faces.choice import one_face
from pgface.faces.engine import Engine
from pgface.faces.models.registry import model_defaults
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.operations.legacy.installation import OldInstallation, OldPhoto
from pgface.operations.legacy.photo_search import FoundPhotos
from pgface.vectors import unit_embeddings

_WANTED = 12
_OF_ONE_USER = 50
"""Embeddings of a user that a photo is compared with, at most."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What embedding photos again has shown."""

    photos: int
    """How many were compared; 0 where no photo could be."""
    similarity: float
    """Median over these photos of the similarity to the nearest embedding of the same user; 0 without photos."""


def check_model(engine: Engine, old: OldInstallation, found: FoundPhotos, limits: PhotoLimits) -> ModelCheck:
    """Embed some photos again and compare them with the embeddings of the users whose they are.

    Embeddings of two models have nothing to do with one another: their similarity is near 0.

    Args:
        engine: of the model that is said to have made the embeddings.
        old: the old installation.
        found: its photo files.
        limits: what a photo may cost.

    Raises:
        MigrationError: most of these photos are not similar to their users' embeddings, so another model made them.

    """
    similarities: list[float] = []
    for photo, file in _candidates(old, found):
        one = _similarity(engine, old, photo, file, limits)
        if one is not None:
            similarities.append(one)
        if len(similarities) == _WANTED:
            break
    if not similarities:
        return ModelCheck(0, 0.0)
    similarity = median(similarities)
    name = engine.identity.name
    if similarity < model_defaults(name).verify_threshold:
        raise MigrationError(
            f"{len(similarities)} photos were embedded again by {name}, and are not similar to the embeddings of their "
            f"users (median {similarity:.2f}); another model made these: give it with --model."
        )
    return ModelCheck(len(similarities), similarity)


def _candidates(old: OldInstallation, found: FoundPhotos) -> list[tuple[OldPhoto, Path]]:
    """Photos that have a file, of users who have embeddings; first one of each user, so that many users are seen."""
    owners = set(np.unique(old.owners).tolist())
    photos = [photo for photo in old.photos if photo.user_id in owners]
    first = {photo.user_id: photo for photo in reversed(photos)}
    others = [photo for photo in photos if photo is not first[photo.user_id]]
    chosen = [*first.values(), *others][: 20 * _WANTED]
    return [(photo, found.files[photo.id]) for photo in chosen if photo.id in found.files]


def _similarity(engine: Engine, old: OldInstallation, photo: OldPhoto, file: Path, limits: PhotoLimits) -> float | None:
    try:
        with open_photo(file, limits) as opened:
            (face,) = engine.detect_and_embed(opened.pixels, one_face(photo.filename, "largest"))
    except PhotoError:
        return None
    rows = np.flatnonzero(old.owners == photo.user_id)[:_OF_ONE_USER]
    return float((unit_embeddings(old.vectors[rows]) @ face.embedding).max())
