"""Probes made from the gallery itself, and whom the exact answers name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.binary_copy import ROW
from pgface.enrollment import unit_embedding
from pgface.schema import queries

_PROBES = 1_000
_SHARE_OF_PROBES = 0.1
"""Of the embeddings at most: the measurement of a small gallery need not take longer than filling it."""


@dataclass(frozen=True, slots=True, eq=False)
class SampledPerson:
    """Somebody of the gallery."""

    user_id: int
    mean: NDArray[np.float32]
    """Of the person's embeddings, shape (512,), norm 1."""
    likeness: float | None
    """Cosine of one embedding and the mean of the others; None where there is one only."""
    likeness_to_each: float | None
    """Mean cosine of that embedding and each of the others."""


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
    """Probes as similar to people of the gallery as a further photo of them would be.

    The mean of a user's embeddings is moved until its cosine with where it was is one that was found between an
    embedding and the mean of the same user's others. The direction is a random mixture of the whole sample, so it
    varies as the gallery does and is nobody's.
    """
    (embeddings,) = connection.execute(queries()["count_embeddings"]).fetchone() or (0,)
    wanted = min(_PROBES, math.ceil(_SHARE_OF_PROBES * embeddings))
    drawn = sample_people(connection, wanted, embeddings) or sample_people(connection, embeddings, embeddings)
    means = np.stack([person.mean for person in drawn])
    random = np.random.default_rng()
    cosines = _cosines(drawn, random)[:, np.newaxis]
    away = random.standard_normal((len(drawn), len(drawn)), dtype=np.float32) @ means
    away += random.standard_normal(away.shape, dtype=np.float32)  # also where there are fewer people than dimensions
    away -= np.sum(away * means, axis=1, keepdims=True) * means
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    probes = cosines * means + np.sqrt(1 - cosines**2) * away
    return _answered(connection, probes, np.array([person.user_id for person in drawn]))


def sample_people(connection: psycopg.Connection, wanted: int, embeddings: int) -> list[SampledPerson]:
    """About so many people of a gallery of so many embeddings; who has more photos comes more often."""
    if not embeddings:
        return []
    values = {"wanted": wanted, "embeddings": embeddings}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(queries()["sample_embeddings"], values).fetchall()
    return [SampledPerson(user_id, unit_embedding(mean.to_numpy()), *likeness) for user_id, mean, *likeness in rows]


def _cosines(drawn: list[SampledPerson], random: np.random.Generator) -> NDArray[np.float32]:
    """How similar a further photo would be to each mean; less so where that is of one photo only."""
    of_mean = [person.likeness for person in drawn if person.likeness is not None]
    of_each = [person.likeness_to_each for person in drawn if person.likeness_to_each is not None]
    if not of_mean:
        return random.uniform(0.3, 0.9, len(drawn)).astype(np.float32)
    alone = np.array([person.likeness is None for person in drawn])
    cosines = np.where(alone, random.choice(of_each, len(drawn)), random.choice(of_mean, len(drawn)))
    return np.clip(cosines, 0.1, 1.0).astype(np.float32)


def _answered(connection: psycopg.Connection, probes: NDArray[np.float32], owners: NDArray[Any]) -> Sample:
    """The exact answers, from one pass over all embeddings."""
    users = np.zeros(len(probes), dtype=np.int64)
    best = np.full(len(probes), -2, dtype=np.float32)
    strangers = np.full(len(probes), -1, dtype=np.float32)
    everyone = np.arange(len(probes))
    for user_ids, embeddings in _stored_blocks(connection):
        similarities = probes @ embeddings.T
        nearest = similarities.argmax(axis=1)
        found = similarities[everyone, nearest]
        better = found > best
        best[better], users[better] = found[better], user_ids[nearest[better]]
        similarities[owners[:, np.newaxis] == user_ids] = -1
        np.maximum(strangers, similarities.max(axis=1), out=strangers)
    return Sample(probes, users, best, strangers)


def _stored_blocks(connection: psycopg.Connection) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """All embeddings as unit vectors with their users, some thousands at a time."""
    block: list[bytes] = []
    with connection.cursor() as cursor, cursor.copy(queries()["copy_out_embeddings"]) as copy:
        for data in copy:
            # The first row comes with the format's header before it, and the end is a mark of its own.
            if len(data) >= ROW.itemsize:
                block.append(bytes(data[-ROW.itemsize :]))
            if len(block) == 4_096:
                yield _unpacked(block)
                block = []
    if block:
        yield _unpacked(block)


def _unpacked(rows: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    table = np.frombuffer(b"".join(rows), dtype=ROW)
    embeddings = table["embedding"].astype(np.float32)
    return table["user_id"].astype(np.int64), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
