"""The new embeddings that wait in the gallery until all of them are there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.sql import queries
from pgface.errors import DatabaseAccessError, GalleryError, TableLockedError
from pgface.faces.engines.base import Box
from pgface.faces.models.registry import ModelIdentity
from pgface.operations.reembed.faces import FaceTask, NewFace
from pgface.operations.reembed.originals import Originals

_PAGE_ROWS = 1_000
"""Number of rows in one query."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of embeddings, contested ones included."""

    faces: int
    waiting: int
    """Those with a new embedding."""
    of_photos: int
    """Those among them that were embedded from the original photo."""
    bare: int
    """Those without a photo."""


@contextmanager
def reembedding_lock(connection: psycopg.Connection) -> Iterator[None]:
    """Hold the lock of `pgface reembed`. It ends with the session.

    Raises:
        DatabaseAccessError: this PostgreSQL user is not the gallery's owner.
        TableLockedError: another session holds it.

    """
    with wrap_psycopg_errors():
        try:
            owner = connection.execute(queries()["is_gallery_owner"]).fetchone() == (True,)
        except pg.InsufficientPrivilege:
            owner = False
        if not owner:
            raise DatabaseAccessError(
                "Only the gallery's owner can change its model. Set PGFACE_DATABASE_URL to the PostgreSQL user that "
                "ran `pgface init`."
            )
        if connection.execute(queries()["take_reembedding"]).fetchone() is None:
            raise TableLockedError("Another `pgface reembed` of this gallery is running. Wait for its end.")
    try:
        yield
    finally:
        if not connection.closed:
            with wrap_psycopg_errors():
                connection.execute(queries()["give_reembedding_back"])


def begin(connection: psycopg.Connection, model: ModelIdentity) -> int:
    """Record the model of the waiting embeddings, and return how many wait from an earlier run.

    Raises:
        GalleryError: embeddings of another model wait.

    """
    found = connection.execute(queries()["select_reembedding"]).fetchone()
    present = asdict(model)
    waiting = int(found[1]) if found else 0
    if found and waiting and found[0] != present:
        raise GalleryError(
            f"{waiting:,} new embeddings of another model wait in this gallery ({found[0].get('name')}, weights "
            f"{str(found[0].get('weights_sha256'))[:12]}). Finish with that model, or delete them with "
            "`pgface reembed --abort`."
        )
    connection.execute(queries()["begin_reembedding"], {"model": json.dumps(present)})
    return waiting


def delete_all(connection: psycopg.Connection) -> None:
    """Delete the waiting embeddings and their model. PostgreSQL frees their space at once."""
    connection.execute(queries()["truncate_reembedded_faces"])
    connection.execute(queries()["delete_reembedding"])


def count(connection: psycopg.Connection) -> Counts:
    """Count the embeddings."""
    with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(queries()["count_reembedding"]).fetchall()
    return Counts(**row)


def count_waiting(connection: psycopg.Connection) -> int:
    """Count the waiting embeddings."""
    row = connection.execute(queries()["count_reembedded_faces"]).fetchone()
    return int(row[0]) if row else 0


def existing(connection: psycopg.Connection, embedding_ids: Sequence[int]) -> list[int]:
    """Return those of some embeddings that still exist, in the order of their ids."""
    rows = connection.execute(queries()["existing_embeddings"], {"ids": list(embedding_ids)}).fetchall()
    return [embedding_id for (embedding_id,) in rows]


def count_tasks(connection: psycopg.Connection, lost: Sequence[int], *, again: bool) -> int:
    """Count the faces that `tasks` would return."""
    row = connection.execute(queries()["count_faces_to_reembed"], {"lost": list(lost), "again": again}).fetchone()
    return int(row[0]) if row else 0


def tasks(
    connection: psycopg.Connection,
    originals: Originals | None,
    lost: Sequence[int] = (),
    *,
    again: bool = False,
) -> Iterator[FaceTask]:
    """Yield the faces with a photo and without a new embedding, in the order of their ids.

    Args:
        connection: the gallery.
        originals: the original photos.
        lost: the ids of embeddings to leave out, because they cannot be embedded.
        again: also yield faces whose new embedding is of the crop, if their original photo is there.

    """
    after = 0
    values: dict[str, Any] = {"lost": list(lost), "again": again, "limit": _PAGE_ROWS}
    while True:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(queries()["faces_to_reembed"], values | {"after": after}).fetchall()
        for row in rows:
            task = _task(row, originals)
            if task.original is not None or not task.waits:
                yield task
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1]["embedding_id"]


def _task(row: dict[str, Any], originals: Originals | None) -> FaceTask:
    box = tuple(row[f"box_{name}"] for name in ("x", "y", "width", "height"))
    original = known_box = None
    if originals is not None:
        original = originals.by_content(row["content_sha256"])
        known_box = None if original is None or None in box else Box(*box)
        # The photo of this name may be another copy, in which the face is elsewhere.
        original = original or originals.by_name(row["email"], row["filename"])
    columns = ("embedding_id", "user_id", "photo_id", "email", "filename", "filepath", "waits")
    return FaceTask(**{name: row[name] for name in columns}, original=original, box=known_box)


def store(connection: psycopg.Connection, faces: Sequence[tuple[FaceTask, NewFace]]) -> None:
    """Store new embeddings in one transaction. Those of faces that were deleted meanwhile are left out."""
    rows = [_row(task, face) for task, face in faces]
    while True:
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(queries()["insert_reembedded_face"], rows)
                return
        except pg.ForeignKeyViolation:
            continue  # a user or photo was deleted at this moment, and the statement leaves it out now


def _row(task: FaceTask, face: NewFace) -> dict[str, Any]:
    quality = face.quality
    numbers = {
        "detection_score": face.detection_score,
        **{f"box_{name}": value for name, value in face.box._asdict().items()},
        **{name: getattr(quality, name) for name in ("sharpness", "brightness", "yaw", "pitch", "roll")},
    }
    measured = {name: None if math.isnan(value) else float(value) for name, value in numbers.items()}
    ids = {"embedding_id": task.embedding_id, "photo_id": task.photo_id}
    return {**ids, "embedding": face.embedding, "of_photo": face.of_photo, **measured}
