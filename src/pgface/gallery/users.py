"""The users of a gallery: adding, finding and erasing them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg.rows import class_row, tuple_row

from pgface.database.sql import queries
from pgface.errors import (
    AmbiguousUserError,
    DuplicateEmailError,
    GalleryError,
    UnknownPhotoError,
    UnknownUserError,
)
from pgface.results import User
from pgface.text import cleaned, email_spellings, is_visible, name_spellings, same_email, shown

if TYPE_CHECKING:
    from pgface.database.pool import Database

UserRef = int | str
"""A user's id, e-mail, or name if one user alone has it: also as a folder has it (`Colin_Powell`), and in any case."""

T = TypeVar("T")
Within = Callable[[psycopg.Connection, T], None]
"""Called in the transaction of a change, with what is changed: what it writes is there with that, or not at all."""

UNUSABLE_PASSWORD = "!"  # noqa: S105 - no hash of any scheme, so it verifies no password
"""What stands in `users.password` for a person who has none."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_LONGEST = 255
_LISTED = 10
"""Users of one name that a refusal lists."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """Someone who may not be a user yet."""

    email: str
    name: str


def is_email(text: str) -> bool:
    """Whether this can be an e-mail."""
    email = same_email(text)
    return _EMAIL.fullmatch(email) is not None and is_visible(email) and len(email) <= _LONGEST


def is_reserved(email: str) -> bool:
    """Whether an e-mail is in the reserved domain `.invalid` (RFC 2606), where no mail arrives.

    pgface gives such addresses to people who are enrolled by name alone.
    """
    return same_email(email).endswith(".invalid")


def shown_email(email: str) -> str | None:
    """An e-mail as people are shown it; None for a reserved one, which tells them nothing (see `is_reserved`)."""
    return None if is_reserved(email) else email


def full_name(name: str, email: str) -> str:
    """A name with its e-mail, such as "Alice <alice@example.org>", or alone where that is reserved."""
    return name if is_reserved(email) else f"{name} <{email}>"


def clean_email(email: str) -> str:
    """An e-mail as the gallery keeps it, so that one person has one: in lower case, and in Unicode's form NFC.

    Raises:
        GalleryError: it cannot be an e-mail.

    """
    if not is_email(email):
        raise GalleryError(f"{email[:80]!r} is not an e-mail; give one such as name@example.org.")
    return same_email(email)


def clean_name(name: str) -> str:
    """A name as the gallery keeps it: see `pgface.text.cleaned`.

    Raises:
        GalleryError: it is empty, too long, or holds control characters.

    """
    kept = cleaned(name)
    if not kept or len(kept) > _LONGEST or not is_visible(kept):
        raise GalleryError(f"{name[:80]!r} is not a name; give 1 to {_LONGEST} printable characters.")
    return kept


def add_user(
    connection: psycopg.Connection, email: str, name: str | None, *, password: str = UNUSABLE_PASSWORD
) -> User:
    """Add a person, without a password if no hash of one is given; the name is the e-mail's first part if not given.

    Raises:
        DuplicateEmailError: there is a user with this e-mail.
        GalleryError: the e-mail or the name cannot be used.

    """
    email = clean_email(email)
    added = None if find_user(connection, email) else _insert_user(connection, email, name, password)
    if added is None:
        raise DuplicateEmailError(f"A user with the e-mail {email} is already in the gallery.")
    return added


def find_user(connection: psycopg.Connection, user: UserRef) -> User | None:
    """The user with this id, e-mail or name, if there is one.

    Raises:
        AmbiguousUserError: several users have this name; the sentence lists them.

    """
    if isinstance(user, str) and not is_email(user):
        named = _named(connection, user)
        if named is None:
            return None
        user = named
    with connection.cursor(row_factory=class_row(User)) as cursor:
        if isinstance(user, str):
            spellings = email_spellings(clean_email(user))
            return cursor.execute(queries()["select_user_by_email"], {"spellings": spellings}).fetchone()
        return cursor.execute(queries()["select_user"], {"id": id_in_range(user)}).fetchone()


def _named(connection: psycopg.Connection, name: str) -> int | None:
    """The id of the one user of this name."""
    if not is_visible(cleaned(name)):
        return None
    asked = {"spellings": name_spellings(name), "limit": _LISTED}
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(queries()["select_users_by_name"], asked).fetchall()
    if len(found) < 2:
        return found[0][0] if found else None
    count = found[0][3]
    listed = ", ".join(f"{user_id} <{email}>" for user_id, _, email, _ in found)
    more = f" and {count - len(found):,} more" if count > len(found) else ""
    raise AmbiguousUserError(
        f"{count:,} users are named {cleaned(name)}: {listed}{more}; give the id or e-mail of the one you mean."
    )


def get_user(connection: psycopg.Connection, user: UserRef) -> User:
    """The user with this id, e-mail or name.

    Raises:
        UnknownUserError: there is none.
        AmbiguousUserError: several users have this name.

    """
    found = find_user(connection, user)
    if found is None:
        raise unknown_user(user)
    return found


def read_users(database: Database, *, after: int = 0, limit: int | None = None, text: str | None = None) -> list[User]:
    """Read the users in the order of their ids, as `Gallery.users` does."""
    asked = {"after": after, "limit": limit, "text": text}
    return database.read("select_users", asked, row_factory=class_row(User))


def get_or_add_user(connection: psycopg.Connection, user: UserRef, name: str | None) -> User:
    """The user with this id, e-mail or name; one with a new e-mail is added.

    Raises:
        UnknownUserError: there is no user with this id or name.
        AmbiguousUserError: several users have this name.

    """
    if isinstance(user, str) and is_email(user):
        added = find_user(connection, user) or _insert_user(connection, clean_email(user), name)
        if added is not None:
            return added
        # Somebody else has added it since it was looked for.
    return get_user(connection, user)


def delete_user(connection: psycopg.Connection, user: UserRef) -> User:
    """Delete a user with everything that belongs to them: photos, embeddings, tokens.

    Raises:
        UnknownUserError: there is none.

    """
    found = get_user(connection, user)
    connection.execute(queries()["delete_user"], {"id": found.id})
    return found


def delete_face(connection: psycopg.Connection, user: UserRef) -> User:
    """Delete a user's photos and all their embeddings; the user stays, and is returned as they were.

    Raises:
        UnknownUserError: there is none.

    """
    found = get_user(connection, user)
    for query in ("delete_embeddings_of_user", "delete_photos_of_user"):
        connection.execute(queries()[query], {"id": found.id})
    return found


def merge_users(connection: psycopg.Connection, user: UserRef, into: UserRef) -> User:
    """Give a user's photos and embeddings to another user, and delete the first with whatever else is theirs.

    Raises:
        UnknownUserError: there is no such user.
        GalleryError: both are the same user.

    """
    # So that nobody enrolls for either of them, or merges them otherwise, meanwhile.
    connection.execute(queries()["lock_enrollment"])
    merged, kept = get_user(connection, user), get_user(connection, into)
    if merged.id == kept.id:
        raise GalleryError(f"{full_name(merged.name, merged.email)} cannot be merged into themselves; name two users.")
    # Before the embeddings, with the last of which the frames go.
    for query in ("move_used_frames", "move_photos", "move_embeddings", "move_contested_faces"):
        connection.execute(queries()[query], {"id": merged.id, "into": kept.id})
    connection.execute(queries()["delete_user"], {"id": merged.id})
    return get_user(connection, kept.id)


def delete_photo(connection: psycopg.Connection, photo_id: int) -> int:
    """Delete a photo with the embeddings made from it; returns whose it was.

    Raises:
        UnknownPhotoError: there is none with this id.

    """
    connection.execute(queries()["delete_photo_embeddings"], {"id": id_in_range(photo_id)})
    deleted = connection.execute(queries()["delete_photo"], {"id": id_in_range(photo_id)}).fetchone()
    if deleted is None:
        raise unknown_photo(photo_id)
    return int(deleted[0])


def unknown_photo(photo_id: int) -> UnknownPhotoError:
    """The refusal, with what was asked for."""
    return UnknownPhotoError(f"There is no photo {photo_id}; `pgface photos list` shows those that there are.")


def unknown_user(user: UserRef) -> UnknownUserError:
    """The refusal, with who was asked for."""
    if isinstance(user, int):
        who = f"with the id {user}"
    else:
        who = f"with the e-mail {user}" if is_email(user) else f"named {shown(user)[:80]}"
    return UnknownUserError(f"There is no user {who}; `pgface users list` shows those that there are.")


def _insert_user(
    connection: psycopg.Connection, email: str, name: str | None, password: str = UNUSABLE_PASSWORD
) -> User | None:
    """The new user; None if there is one with this e-mail, whose transaction is waited for if it is under way."""
    values = {"email": email, "name": clean_name(name or email.partition("@")[0]), "password": password}
    with connection.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(queries()["insert_user"], values).fetchone()


def id_in_range(value: int) -> int:
    """An id as PostgreSQL takes it: of 32 bits, or -1, which like any number beyond is nobody's."""
    return int(value) if -(2**31) <= value < 2**31 else -1
