"""How often identification names the right person, before and after a change of the model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.database.sql import queries
from pgface.errors import EvaluationError
from pgface.evaluation.pairwise import compare_all
from pgface.vectors import EMBEDDING_DIMENSION

_BATCH_ROWS = 4_096
"""Number of rows in one fetch."""


@dataclass(frozen=True, slots=True)
class Rank1:
    """Every photo of a person with several is searched among all other photos of the gallery (leave-one-out)."""

    searches: int
    """Number of these photos."""
    before: int
    """Number of them whose person is the most similar one, with the present embeddings."""
    after: int
    """The same number with the new embeddings. A photo without one counts as a miss."""


def measure_rank1(connection: psycopg.Connection) -> Rank1 | None:
    """Compare the present embeddings with the waiting ones. None if no person has several photos.

    It needs 4 kB of memory for each embedding of the gallery, and compares each with every other.
    """
    people, old, new, has_new = _read(connection)
    try:
        ranks = compare_all(old, people).ranks
    except EvaluationError:
        return None
    searched = ranks > 0
    after = np.zeros(len(people), bool)
    with suppress(EvaluationError):  # too few of them have a new embedding
        after[has_new] = compare_all(new[has_new], people[has_new]).ranks == 1
    return Rank1(int(searched.sum()), int((ranks == 1).sum()), int((after & searched).sum()))


def _read(
    connection: psycopg.Connection,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the users, the present and the new embeddings with norm 1, and which have a new one."""
    missing = np.zeros(EMBEDDING_DIMENSION, np.float32)
    people: list[int] = []
    has_new: list[bool] = []
    old: list[NDArray[np.float32]] = []
    new: list[NDArray[np.float32]] = []
    with connection.transaction(), connection.cursor(name="old_and_new") as cursor:
        cursor.execute(queries()["old_and_new_embeddings"], binary=True)
        while rows := cursor.fetchmany(_BATCH_ROWS):
            people += [row[0] for row in rows]
            has_new += [row[2] is not None for row in rows]
            old.append(np.stack([row[1].to_numpy() for row in rows]))
            new.append(np.stack([missing if row[2] is None else row[2].to_numpy() for row in rows]))
    empty = np.empty((0, EMBEDDING_DIMENSION), np.float32)
    before, after = np.concatenate([empty, *old]), np.concatenate([empty, *new])
    before /= np.maximum(np.linalg.norm(before, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.array(people, np.int64), before, after, np.array(has_new, bool)
