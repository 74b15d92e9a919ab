"""The users of a gallery: adding, changing, finding, merging and deleting them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from pgface.database.sql import queries
from pgface.errors import (
    AmbiguousUserError,
    DuplicateEmailError,
    DuplicateExternalIdError,
    GalleryError,
    UnknownPhotoError,
    UnknownUserError,
)
from pgface.gallery.attributes import Attributes, ExternalId, clean_external_id, clean_labels, clean_metadata
from pgface.results import User
from pgface.text import cleaned, email_spellings, is_visible, name_spellings, same_email, shown

if TYPE_CHECKING:
    from pgface.database.pool import Database

UserRef = int | str | ExternalId
"""A user's id, e-mail, name if only one user has it, or `ExternalId`. A name may be written as in a folder
(`Colin_Powell`), in any case."""

T = TypeVar("T")
Within = Callable[[psycopg.Connection, T], None]
"""A function that is called in the transaction of a change, with the result. It can write more rows to that
transaction."""

UNUSABLE_PASSWORD = "!"  # noqa: S105 - no hash of any scheme, so it verifies no password
"""The value of `users.password` for a user without a password."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MAX_CHARACTERS = 255
"""The length of the columns `users.name` and `users.email`."""
_MAX_LISTED = 10
"""Maximum number of users with the same name that an error message lists."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """A person who may not be a user yet."""

    email: str
    name: str


def is_email(text: str) -> bool:
    """Whether a text can be an e-mail."""
    email = same_email(text)
    return _EMAIL.fullmatch(email) is not None and is_visible(email) and len(email) <= _MAX_CHARACTERS


def is_reserved(email: str) -> bool:
    """Whether an e-mail is in the reserved domain `.invalid` (RFC 2606), where no mail arrives.

    pgface gives such addresses to people whom you enroll by name only.
    """
    return same_email(email).endswith(".invalid")


def shown_email(email: str) -> str | None:
    """Return the e-mail to show to people. None for a reserved one (see `is_reserved`)."""
    return None if is_reserved(email) else email


def full_name(name: str, email: str) -> str:
    """Return a name with its e-mail, such as "Alice <alice@example.org>", or without a reserved e-mail."""
    return name if is_reserved(email) else f"{name} <{email}>"


def clean_email(email: str) -> str:
    """Return an e-mail as the gallery stores it: in lower case, and in Unicode's form NFC.

    Raises:
        GalleryError: the text cannot be an e-mail.

    """
    if not is_email(email):
        raise GalleryError(f"{email[:80]!r} is not an e-mail. Give one such as name@example.org.")
    return same_email(email)


def clean_name(name: str) -> str:
    """Return a name as the gallery stores it. See `pgface.text.cleaned`.

    Raises:
        GalleryError: the name is empty, too long, or contains control characters.

    """
    kept = cleaned(name)
    if not kept or len(kept) > _MAX_CHARACTERS or not is_visible(kept):
        raise GalleryError(f"{name[:80]!r} is not a name. Give 1 to {_MAX_CHARACTERS} printable characters.")
    return kept


def add_user(
    connection: psycopg.Connection,
    email: str,
    name: str | None,
    *,
    password: str = UNUSABLE_PASSWORD,
    attributes: Attributes | None = None,
) -> User:
    """Add a user, by default without a password. The default name is the first part of the e-mail.

    Raises:
        DuplicateEmailError: a user has this e-mail already.
        DuplicateExternalIdError: a user has this external id already.
        GalleryError: the e-mail or the name cannot be used.

    """
    email = clean_email(email)
    added = None if find_user(connection, email) else _insert_user(connection, email, name, password, attributes)
    if added is None:
        raise DuplicateEmailError(f"A user with the e-mail {email} is already in the gallery.")
    return added


def find_user(connection: psycopg.Connection, user: UserRef) -> User | None:
    """Return the user with this id, e-mail or name, if there is one.

    Raises:
        AmbiguousUserError: several users have this name. The message lists them.

    """
    if isinstance(user, str) and not is_email(user):
        named = _named(connection, user)
        if named is None:
            return None
        user = named
    with connection.cursor(row_factory=class_row(User)) as cursor:
        if isinstance(user, ExternalId):
            composed = unicodedata.normalize("NFC", user.value)
            if not is_visible(composed):
                return None
            return cursor.execute(queries()["select_user_by_external_id"], {"external_id": composed}).fetchone()
        if isinstance(user, str):
            spellings = email_spellings(clean_email(user))
            return cursor.execute(queries()["select_user_by_email"], {"spellings": spellings}).fetchone()
        return cursor.execute(queries()["select_user"], {"id": id_in_range(user)}).fetchone()


def _named(connection: psycopg.Connection, name: str) -> int | None:
    """Return the id of the only user with this name."""
    if not is_visible(cleaned(name)):
        return None
    values = {"spellings": name_spellings(name), "limit": _MAX_LISTED}
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(queries()["select_users_by_name"], values).fetchall()
    if len(found) < 2:
        return found[0][0] if found else None
    count = found[0][3]
    listed = ", ".join(f"{user_id} <{email}>" for user_id, _, email, _ in found)
    more = f" and {count - len(found):,} more" if count > len(found) else ""
    raise AmbiguousUserError(
        f"{count:,} users are named {cleaned(name)}: {listed}{more}. Give the id or e-mail of the user that you mean."
    )


def get_user(connection: psycopg.Connection, user: UserRef) -> User:
    """Return the user with this id, e-mail or name.

    Raises:
        UnknownUserError: there is no such user.
        AmbiguousUserError: several users have this name.

    """
    found = find_user(connection, user)
    if found is None:
        raise unknown_user(user)
    return found


def read_users(
    database: Database,
    *,
    after: int = 0,
    limit: int | None = None,
    text: str | None = None,
    labels: Iterable[str] = (),
    external_id: str | None = None,
) -> list[User]:
    """List the users in the order of their ids. See `Gallery.users`."""
    values = {
        "after": after,
        "limit": limit,
        "text": text,
        "labels": list(clean_labels(labels)),
        "external_id": clean_external_id(external_id) if external_id is not None else None,
    }
    return database.read("select_users", values, row_factory=class_row(User))


def find_user_or_new(connection: psycopg.Connection, user: UserRef) -> User | None:
    """Return the user with this id, e-mail or name. None for the e-mail of a user who is not in the gallery yet.

    Raises:
        UnknownUserError: there is no user with this id or name.
        AmbiguousUserError: several users have this name.

    """
    found = find_user(connection, user)
    if found is None and not (isinstance(user, str) and is_email(user)):
        raise unknown_user(user)
    return found


def add_user_if_missing(
    connection: psycopg.Connection, email: str, name: str | None, attributes: Attributes | None = None
) -> User:
    """Add a user. If another session has added this e-mail in the meantime, return that user."""
    return _insert_user(connection, clean_email(email), name, attributes=attributes) or get_user(connection, email)


def update_user(
    connection: psycopg.Connection,
    user: UserRef,
    *,
    name: str | None = None,
    external_id: str | None = None,
    labels: Iterable[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> User:
    """Change a user, and return the user as changed. See `Gallery.update_user`.

    Raises:
        UnknownUserError: there is no such user.
        DuplicateExternalIdError: another user has this external id.
        GalleryError: a value cannot be used.

    """
    found = get_user(connection, user)
    values = {
        "id": found.id,
        "name": None if name is None else clean_name(name),
        "external_id": clean_external_id(external_id) if external_id else external_id,
        "labels": None if labels is None else list(clean_labels(labels)),
        "metadata": None if metadata is None else Jsonb(clean_metadata(metadata)),
    }
    with unique_external_id():
        connection.execute(queries()["update_user"], values)
    return get_user(connection, found.id)


def delete_user(connection: psycopg.Connection, user: UserRef) -> User:
    """Delete a user with all their photos, embeddings and tokens.

    Raises:
        UnknownUserError: there is no such user.

    """
    found = get_user(connection, user)
    connection.execute(queries()["delete_user"], {"id": found.id})
    return found


def delete_face(connection: psycopg.Connection, user: UserRef) -> User:
    """Delete a user's photos and embeddings, and keep the user. Return the user as it was before.

    Raises:
        UnknownUserError: there is no such user.

    """
    found = get_user(connection, user)
    for query in ("delete_embeddings_of_user", "delete_photos_of_user"):
        connection.execute(queries()[query], {"id": found.id})
    return found


def merge_users(connection: psycopg.Connection, user: UserRef, into: UserRef) -> User:
    """Move a user's photos and embeddings to another user, and delete the first user with all other data.

    The user that stays gets the labels of both, and the metadata of both. For a key that both have, its own value
    stays. It keeps its own external id, or gets the other's if it has none.

    Raises:
        UnknownUserError: one of the users does not exist.
        GalleryError: both are the same user, or together they have too many labels or too much metadata.

    """
    # While this lock is held, no other session enrolls a face for one of them, or merges them with another user.
    connection.execute(queries()["lock_enrollment"])
    merged, kept = get_user(connection, user), get_user(connection, into)
    if merged.id == kept.id:
        raise GalleryError(f"{full_name(merged.name, merged.email)} cannot be merged with itself. Name two users.")
    connection.execute(queries()["lock_users"], {"ids": [merged.id, kept.id]})
    merged, kept = get_user(connection, merged.id), get_user(connection, kept.id)
    together = Attributes.cleaned(
        external_id=kept.external_id or merged.external_id,
        labels=[*kept.labels, *merged.labels],
        metadata={**merged.metadata, **kept.metadata},
    )
    # The used frames come before the embeddings: deleting the last embedding deletes them.
    for query in (
        *("move_used_frames", "move_photos", "move_embeddings"),
        *("move_contested_faces", "delete_moved_contested_faces", "keep_person"),
    ):
        connection.execute(queries()[query], {"id": merged.id, "into": kept.id})
    connection.execute(queries()["delete_user"], {"id": merged.id})
    connection.execute(queries()["record_merge"], {"id": merged.id, "into": kept.id})
    # Afterwards, because an external id is unique.
    connection.execute(queries()["update_user"], {"id": kept.id, "name": None} | _parameters(together))
    return get_user(connection, kept.id)


def delete_photo(connection: psycopg.Connection, photo_id: int) -> int:
    """Delete a photo with its embeddings, and return the id of its user.

    Raises:
        UnknownPhotoError: there is no photo with this id.

    """
    connection.execute(queries()["delete_photo_embeddings"], {"id": id_in_range(photo_id)})
    deleted = connection.execute(queries()["delete_photo"], {"id": id_in_range(photo_id)}).fetchone()
    if deleted is None:
        raise unknown_photo(photo_id)
    return int(deleted[0])


def unknown_photo(photo_id: int) -> UnknownPhotoError:
    """Return the error for an id that no photo has."""
    return UnknownPhotoError(f"There is no photo {photo_id}. `pgface photos list` shows the photos.")


def unknown_user(user: UserRef) -> UnknownUserError:
    """Return the error for an id, e-mail or name that no user has."""
    if isinstance(user, int):
        who = f"with the id {user}"
    elif isinstance(user, ExternalId):
        who = f"with the external id {shown(user.value)[:80]}"
    else:
        who = f"with the e-mail {user}" if is_email(user) else f"named {shown(user)[:80]}"
    return UnknownUserError(f"There is no user {who}. `pgface users list` shows the users.")


def _insert_user(
    connection: psycopg.Connection,
    email: str,
    name: str | None,
    password: str = UNUSABLE_PASSWORD,
    attributes: Attributes | None = None,
) -> User | None:
    """Return the new user, after waiting for other transactions that add this e-mail. None if a user has it."""
    values = {"email": email, "name": clean_name(name or email.partition("@")[0]), "password": password}
    with unique_external_id(), connection.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(queries()["insert_user"], values | _parameters(attributes or Attributes())).fetchone()


def _parameters(attributes: Attributes) -> dict[str, Any]:
    return {
        "external_id": attributes.external_id,
        "labels": list(attributes.labels),
        "metadata": Jsonb(attributes.metadata),
    }


@contextmanager
def unique_external_id() -> Iterator[None]:
    """Raise `DuplicateExternalIdError` if another user has the external id."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        # Citus passes on the message, where the name ends with the number of the shard.
        if "idx_users_external_id" not in f"{error.diag.constraint_name} {error.diag.message_primary}":
            raise
        raise DuplicateExternalIdError from error


def id_in_range(value: int) -> int:
    """Return an id that fits into 32 bits. It is -1 for a larger number, and no row has this id either."""
    return int(value) if -(2**31) <= value < 2**31 else -1
