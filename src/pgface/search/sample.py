"""Probes that are made from the gallery's own embeddings, and the embeddings to compare them with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.database.sql import queries
from pgface.errors import GalleryError
from pgface.vectors import unpack_rows


def draw_probes(connection: psycopg.Connection, wanted: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw probes that resemble further photos of people in the gallery.

    Args:
        connection: a connection to the gallery.
        wanted: the approximate number of probes.

    Returns:
        Unit vectors, shape (n, 512), and the ids of their users, shape (n,).

    Raises:
        GalleryError: the gallery is empty.

    """
    with connection.cursor(binary=True) as cursor:
        drawn = cursor.execute(queries()["draw_probes"], {"wanted": wanted}).fetchall()
    if not drawn:
        raise GalleryError("The gallery is empty, so the search cannot be measured. Enroll people first.")
    return np.stack([probe.to_numpy() for _, probe in drawn]), np.array([user_id for user_id, _ in drawn])


def stored_blocks(
    connection: psycopg.Connection, *, labels: Sequence[str] = ()
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the user ids and all embeddings as unit vectors, some thousands at a time.

    Args:
        connection: a connection to the gallery.
        labels: yield only embeddings of users who have all of these labels.

    """
    wanted = None
    if labels:
        found = connection.execute(queries()["users_with_labels"], {"labels": list(labels)}).fetchall()
        wanted = np.array([user_id for (user_id,) in found], np.int64)
    with connection.cursor() as cursor, cursor.copy(queries()["copy_out_embeddings"]) as copy:
        for user_ids, embeddings in unpack_rows(copy):
            if wanted is not None:
                kept = np.isin(user_ids, wanted)
                user_ids, embeddings = user_ids[kept], embeddings[kept]
            if len(user_ids):
                yield user_ids.astype(np.int64), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
