"""Gives faces the ids that another service gave them, after their photos were indexed again.

A face is found by the external id of its photo and by its box. So the ids that an application has stored stay valid.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pgface.database.sql import queries
from pgface.errors import TransferError
from pgface.faces.engines.base import Box
from pgface.gallery.gallery import Gallery
from pgface.gallery.indexed_faces import IndexedFace, overlap, read_faces

_MIN_OVERLAP: Final = 0.3
"""The lowest share of two boxes that they have in common (intersection over union). Services draw boxes differently."""


@dataclass(frozen=True, slots=True)
class FormerFace:
    """A face in another service."""

    face_id: UUID
    image_id: UUID | None
    external_image_id: str
    box: Box
    """As shares of the photo."""


@dataclass(frozen=True, slots=True)
class FaceIdReport:
    """The faces that got their former id, and those that were not found."""

    set: int
    not_found: list[str]


def read_former_faces(file: Path) -> list[FormerFace]:
    """Read the answers to ListFaces of Amazon Rekognition: an object with `Faces`, or a list of faces.

    Raises:
        TransferError: the file cannot be read, or a face has no FaceId, ExternalImageId or BoundingBox.

    """
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        faces = read["Faces"] if isinstance(read, dict) else read
        return [_former_face(face) for face in faces]
    except OSError as error:
        raise TransferError(f"{file.name}: the file cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TransferError(
            f"{file.name}: this is not an answer to ListFaces, in which each face has FaceId, ExternalImageId and "
            "BoundingBox."
        ) from error


def set_face_ids(gallery: Gallery, former: Sequence[FormerFace]) -> FaceIdReport:
    """Give the gallery's faces their former ids, in one transaction.

    Raises:
        TransferError: another face has one of the ids. Nothing was changed.

    """
    done, not_found = 0, []
    with gallery.database.transaction() as connection:
        connection.execute(queries()["lock_enrollment"])
        names = list({face.external_image_id for face in former})
        of_photo = defaultdict(list)
        for face in read_faces(connection, "select_faces_of_images", {"external_image_ids": names}):
            of_photo[face.external_image_id].append(face)
        for old in former:
            found = _most_similar(old, of_photo[old.external_image_id])
            if found is None:
                not_found.append(str(old.face_id))
                continue
            of_photo[old.external_image_id].remove(found)
            values = {"face_id": old.face_id, "image_id": old.image_id, "embedding_id": found.embedding_id}
            if connection.execute(queries()["set_face_ids"], values).fetchone() is None:
                raise TransferError(f"Another face of the gallery has the id {old.face_id}. Nothing was changed.")
            done += 1
    return FaceIdReport(done, not_found)


def _former_face(face: dict[str, Any]) -> FormerFace:
    box = face["BoundingBox"]
    return FormerFace(
        UUID(face["FaceId"]),
        UUID(face["ImageId"]) if face.get("ImageId") else None,
        str(face["ExternalImageId"]),
        Box(*(float(box[side]) for side in ("Left", "Top", "Width", "Height"))),
    )


def _most_similar(old: FormerFace, faces: Sequence[IndexedFace]) -> IndexedFace | None:
    overlaps = [(overlap(old.box, box), face) for face in faces if (box := _relative(face)) is not None]
    best = max(overlaps, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] >= _MIN_OVERLAP else None


def _relative(face: IndexedFace) -> Box | None:
    if face.box is None or face.image_size is None:
        return None
    (x, y, box_width, box_height), (width, height) = face.box, face.image_size
    return Box(x / width, y / height, box_width / width, box_height / height)
