"""The gallery's own embeddings, as photos to evaluate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pgvector import Vector
from psycopg import ServerCursor

from pgface.errors import EvaluationError
from pgface.evaluation.embedded import EmbeddedPhotos
from pgface.evaluation.photos import LabelledPhoto
from pgface.postgres.database import Database
from pgface.schema import queries

_TOGETHER = 4_096
"""Rows that are fetched at once."""


def stored_embeddings(database: Database, photos_dir: Path) -> EmbeddedPhotos:
    """Every embedding of the gallery, by user and in the order of enrollment.

    A photo's file is its crop, and its person the user's e-mail. An embedding without a photo has no file: `Path()`.

    Raises:
        EvaluationError: nobody is enrolled.

    """
    photos: list[LabelledPhoto] = []
    blocks = []
    with database.transaction() as connection, connection.cursor(name="stored_embeddings") as cursor:
        cursor.execute(queries()["select_embeddings"], binary=True)
        while rows := _fetch(cursor):
            blocks.append(np.stack([row[0].to_numpy() for row in rows]).astype(np.float32))
            photos += [
                LabelledPhoto(
                    f"{email}: {filename or 'embedding'} ({'photo' if filename else 'embedding'} {number})",
                    photos_dir / filepath if filepath else Path(),
                    email,
                )
                for _, email, filename, filepath, number in rows
            ]
    if not blocks:
        raise EvaluationError("Nobody is enrolled in this gallery yet; enroll people, or give a folder of photos.")
    return EmbeddedPhotos(tuple(photos), np.concatenate(blocks), ())


def _fetch(cursor: ServerCursor) -> list[tuple[Vector, str, str | None, str | None, int]]:
    return cursor.fetchmany(_TOGETHER)
