"""Reads users, photos, embeddings, counts, and the names in the audit log, for pages and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import class_row, dict_row, scalar_row, tuple_row

from pgface.accounts.audit_log import AuditEntry
from pgface.database.pool import Database
from pgface.gallery.attributes import clean_labels
from pgface.gallery.users import id_in_range

_BATCH_ROWS: Final = 500
_MAX_USERS_BY_TEXT: Final = 1000


@dataclass(frozen=True, slots=True)
class UserWithFace:
    """A user and their first photo."""

    id: int
    name: str
    email: str
    photos: int
    photo_id: int | None
    """None for a user without photos."""
    external_id: str | None
    labels: list[str]


@dataclass(frozen=True, slots=True)
class MeasuredPhoto:
    """A photo and the measurements of its face at enrollment. Unknown measurements are None."""

    id: int
    filename: str
    created_at: datetime
    embedded: bool
    """Whether it has an embedding. Without one, identification does not find the user by it."""
    face_size: float | None
    """The shorter side of the face's box, in pixels of the photo."""
    sharpness: float | None
    brightness: float | None
    """0 to 1."""
    yaw: float | None
    """Yaw, pitch and roll are in degrees."""
    pitch: float | None
    roll: float | None


@dataclass(frozen=True, slots=True)
class Names:
    """The names of users and API keys by their ids, without deleted ones."""

    users: dict[int, str]
    keys: dict[int, str]


def gallery_size(database: Database) -> tuple[int, int]:
    """Return the numbers of users and embeddings."""
    ((users, embeddings),) = database.read("gallery_size", row_factory=tuple_row)
    return users, embeddings


def users_with_faces(
    database: Database, *, text: str | None, labels: Iterable[str], after: int, limit: int
) -> list[UserWithFace]:
    """List users with ids above `after` and all of the labels, whose name or e-mail contains `text`, by their ids.

    Raises:
        GalleryError: a label cannot be used.

    """
    values = {"after": after, "limit": limit, "text": text, "labels": list(clean_labels(labels))}
    return database.read("select_faces_of_users", values, row_factory=class_row(UserWithFace))


def measured_photos(database: Database, user_id: int, *, after: int, limit: int) -> list[MeasuredPhoto]:
    """List a user's photos with ids above `after`, in the order of their ids."""
    values = {"user_id": user_id, "after": after, "limit": limit}
    return database.read("select_measured_photos", values, row_factory=class_row(MeasuredPhoto))


def embeddings_of_user(database: Database, user_id: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a user's embeddings in the order of their ids."""
    after = 0
    while found := database.read(
        "select_embeddings_of_user",
        {"user_id": user_id, "after": after, "limit": _BATCH_ROWS},
        row_factory=dict_row,
    ):
        yield from found
        after = found[-1]["id"]


def has_password(database: Database, user_id: int) -> bool:
    """Whether a user can log in by password."""
    return database.read("has_password", {"id": user_id}, row_factory=scalar_row) == [True]


def user_ids_by_text(database: Database, text: str) -> list[int]:
    """Return the text as an id, perhaps of a deleted user, or the ids of users whose name or e-mail contains it."""
    if text.isdecimal():
        return [id_in_range(int(text))]
    return database.read("select_users_by_text", {"text": text, "limit": _MAX_USERS_BY_TEXT}, row_factory=scalar_row)


def names_in_audit(database: Database, entries: Sequence[AuditEntry]) -> Names:
    """Read the names of the users and keys whose ids are in entries of the audit log."""
    actors = [(entry.actor or "").split() for entry in entries]

    def ids(kind: str, subjects: Iterable[int | None]) -> list[int]:
        of_actors = {int(words[1]) for words in actors if len(words) == 2 and words[0] == kind and words[1].isdecimal()}
        return sorted(of_actors | {one for one in subjects if one is not None})

    values = {
        "users": ids("user", (entry.user_id for entry in entries)),
        "keys": ids("key", (entry.key_id for entry in entries)),
    }
    found = database.read("select_names", values, row_factory=tuple_row)
    return Names(
        users={number: name for kind, number, name in found if kind == "user"},
        keys={number: name for kind, number, name in found if kind == "key"},
    )
