"""Probes made from the gallery itself, and whom the exact answers name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import Vector

from pgface.database.sql import queries
from pgface.errors import GalleryError
from pgface.vectors import EMBEDDING_DIMENSION, unit_embedding, unpack_rows

_PROBES = 1_000
_SHARE_OF_PROBES = 0.1
"""Of the embeddings at most: the measurement of a small gallery need not take longer than filling it."""


@dataclass(frozen=True, slots=True, eq=False)
class SampledPhoto:
    """An embedding of the gallery, and what else there is of its user."""

    user_id: int
    embedding: NDArray[np.float32]
    """Shape (512,), norm 1."""
    mean: NDArray[np.float32]
    """Of all of the user's embeddings, shape (512,), norm 1."""
    mean_of_others: NDArray[np.float32] | None
    """Of the user's other embeddings, shape (512,), shorter than 1 where they differ; None where there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Probes made from the gallery itself, and the exact answers."""

    probes: NDArray[np.float32]
    """Shape (n, 512), unit vectors."""
    users: NDArray[np.int64]
    """Shape (n,): whom an exact scan names first."""
    similarities: NDArray[np.float32]
    """Shape (n,): how similar that one is."""
    strangers: NDArray[np.float32]
    """Shape (n,): similarity of the nearest person who is not the one that the probe was made of."""


def draw_sample(connection: psycopg.Connection) -> Sample:
    """Probes made from the gallery itself, as many as its size allows, and the exact answers.

    Raises:
        GalleryError: nobody is enrolled.

    """
    (embeddings,) = connection.execute(queries()["count_embeddings"]).fetchone() or (0,)
    wanted = min(_PROBES, math.ceil(_SHARE_OF_PROBES * embeddings))
    return _answered(connection, *draw_probes(connection, wanted, embeddings))


def draw_probes(
    connection: psycopg.Connection, wanted: int, embeddings: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probes that differ from people of the gallery as a further photo of them would.

    A user's mean is moved until its cosine with where it was is one that was found between an embedding and the mean
    of the same user's others. The direction is a random mixture of the differences that there are between such two.

    Args:
        connection: the gallery's.
        wanted: about how many probes.
        embeddings: how many there are in the gallery.

    Returns:
        Unit vectors of shape (n, 512), and the users that they are made of, shape (n,).

    Raises:
        GalleryError: nobody is enrolled.

    """
    drawn = sample_photos(connection, wanted, embeddings) or sample_photos(connection, embeddings, embeddings)
    if not drawn:
        raise GalleryError("There is nobody left in the gallery to measure the search with; enroll people first.")
    random = np.random.default_rng()
    means = np.stack([photo.mean for photo in drawn])
    alone = np.array([photo.mean_of_others is None for photo in drawn])
    away, cosines = _differences(drawn, alone, random)
    away -= np.sum(away * means, axis=1, keepdims=True) * means
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    probes = (cosines * means + np.sqrt(1 - cosines**2) * away).astype(np.float32)
    return probes, np.array([photo.user_id for photo in drawn])


def sample_photos(connection: psycopg.Connection, wanted: int, embeddings: int) -> list[SampledPhoto]:
    """About so many embeddings of a gallery of so many, without those whose user's others have no mean."""
    if not embeddings:
        return []
    values = {"wanted": wanted, "embeddings": embeddings}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries()["sample_embeddings"], values).fetchall()
    return [
        SampledPhoto(
            user_id,
            embedding.to_numpy(),
            unit_embedding(mean.to_numpy()),
            None if mean_of_others is None else mean_of_others.to_numpy(),
        )
        for user_id, embedding, mean, mean_of_others in rows
        if _has_direction(mean) and (mean_of_others is None or _has_direction(mean_of_others))
    ]


def _has_direction(mean: Vector) -> bool:
    """Opposite embeddings cancel each other out."""
    return bool(np.linalg.norm(mean.to_numpy()) > 1e-3)


def _differences(
    drawn: list[SampledPhoto], alone: NDArray[np.bool_], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each user in which direction to move the mean, shape (n, 512), and to which cosine, shape (n, 1).

    The mean of a single embedding is less similar to a further photo than the mean of several.
    """
    # A little in every direction: so that a mixture of few is nobody's as well.
    away = 0.1 * random.standard_normal((len(drawn), EMBEDDING_DIMENSION), dtype=np.float32)
    several = [photo for photo in drawn if photo.mean_of_others is not None]
    if not several:
        away += _mixtures(np.stack([photo.mean for photo in drawn]), len(drawn), random)
        return away, random.uniform(0.3, 0.9, (len(drawn), 1)).astype(np.float32)
    embeddings = np.stack([photo.embedding for photo in several])
    others = np.stack([photo.mean_of_others for photo in several if photo.mean_of_others is not None])
    to_each = np.sum(embeddings * others, axis=1)
    to_mean = to_each / np.linalg.norm(others, axis=1)
    away += _mixtures(embeddings - (to_each / np.sum(others**2, axis=1))[:, np.newaxis] * others, len(drawn), random)
    cosines = np.where(alone, random.choice(to_each, len(drawn)), random.choice(to_mean, len(drawn)))
    return away, np.clip(cosines, 0.1, 1.0)[:, np.newaxis].astype(np.float32)


def _mixtures(vectors: NDArray[np.float32], count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Random sums of vectors, shape (count, 512): they vary as those do, and none is like one of them."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-6)  # of an embedding that is there twice nothing is left
    return np.asarray(random.standard_normal((count, len(vectors)), dtype=np.float32) @ unit, dtype=np.float32)


def _answered(connection: psycopg.Connection, probes: NDArray[np.float32], owners: NDArray[Any]) -> Sample:
    """The exact answers, from one pass over all embeddings."""
    users = np.zeros(len(probes), dtype=np.int64)
    best = np.full(len(probes), -2, dtype=np.float32)
    strangers = np.full(len(probes), -1, dtype=np.float32)
    everyone = np.arange(len(probes))
    for user_ids, embeddings in stored_blocks(connection):
        similarities = probes @ embeddings.T
        nearest = similarities.argmax(axis=1)
        found = similarities[everyone, nearest]
        better = found > best
        best[better], users[better] = found[better], user_ids[nearest[better]]
        similarities[owners[:, np.newaxis] == user_ids] = -1
        np.maximum(strangers, similarities.max(axis=1), out=strangers)
    return Sample(probes, users, best, strangers)


def stored_blocks(connection: psycopg.Connection) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """All embeddings as unit vectors with their users, some thousands at a time."""
    with connection.cursor() as cursor, cursor.copy(queries()["copy_out_embeddings"]) as copy:
        for user_ids, embeddings in unpack_rows(copy):
            yield user_ids.astype(np.int64), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
