"""The exact answers for many probes, found in one pass over all embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_RESULT = -2.0
"""A value below every cosine."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The similarities of the k nearest results of n probes, in descending order. `NO_RESULT` if there are fewer."""

    embeddings: NDArray[np.float32]
    """Similarities of embeddings, shape (n, k)."""
    people: NDArray[np.float32]
    """Similarities of people, each by their most similar embedding, shape (n, k)."""


Blocks = Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Blocks of user ids, shape (m,), and their embeddings as unit vectors, shape (m, 512)."""


def nearest(blocks: Blocks, probes: NDArray[np.float32], count: int) -> Nearest:
    """Find the exact answers.

    Args:
        blocks: all embeddings, for example from `pgface.search.sample.stored_blocks`.
        probes: unit vectors, shape (n, 512).
        count: the number of nearest results, k.

    """
    embeddings = np.full((len(probes), count), NO_RESULT, np.float32)
    people = embeddings.copy()
    users = np.full((len(probes), count), -1, np.int64)
    for user_ids, stored in blocks:
        similarities = probes @ stored.T
        embeddings = _largest(np.hstack([embeddings, similarities]), count)
        block_users, best = _best_of_each_user(user_ids, similarities)
        people, users = _merged(people, users, best, block_users, count)
    return Nearest(-np.sort(-embeddings, axis=1), -np.sort(-people, axis=1))


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return np.partition(values, -count, axis=1)[:, -count:]


def _best_of_each_user(
    user_ids: NDArray[np.int64], similarities: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the users of a block, shape (u,), and each probe's best similarity to each of them, shape (n, u)."""
    order = np.argsort(user_ids, kind="stable")
    users, starts = np.unique(user_ids[order], return_index=True)
    return users, np.maximum.reduceat(similarities[:, order], starts, axis=1)


def _merged(
    people: NDArray[np.float32],
    users: NDArray[np.int64],
    more: NDArray[np.float32],
    more_users: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Merge the best results so far with those of a block. A user in both counts once."""
    columns = np.argpartition(more, -min(count, more.shape[1]), axis=1)[:, -count:]
    values = np.hstack([people, np.take_along_axis(more, columns, axis=1)])
    owners = np.hstack([users, more_users[columns]])
    order = np.lexsort((-values, owners), axis=1)  # by user, the best of each first
    values, owners = np.take_along_axis(values, order, axis=1), np.take_along_axis(owners, order, axis=1)
    values[:, 1:][owners[:, 1:] == owners[:, :-1]] = NO_RESULT
    best = np.argpartition(values, -count, axis=1)[:, -count:]
    return np.take_along_axis(values, best, axis=1), np.take_along_axis(owners, best, axis=1)
