"""An old installation written into a gallery, inside one transaction."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.binary_copy import BEGIN, END, packed_with_photos
from pgface.bulk import BLOCK
from pgface.errors import MigrationError
from pgface.legacy.installation import OldInstallation, OldPhoto
from pgface.legacy.photo_copies import PhotoCopies
from pgface.schema import queries

OnRows = Callable[[int, int], None]
"""Called with the embeddings sent, and all of them."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of each table."""

    users: int
    photos: int
    tokens: int
    embeddings: int

    @property
    def nothing(self) -> bool:
        """Whether there are none at all."""
        return not (self.users or self.photos or self.tokens or self.embeddings)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What became of the old rows."""

    new: Counts
    """Rows that were not there before."""
    users: dict[int, int]
    """The gallery's id of each old user."""


def write(
    connection: psycopg.Connection, old: OldInstallation, copies: PhotoCopies, *, merge: bool, on_rows: OnRows | None
) -> Written:
    """Write what is not in the gallery yet; the transaction is the caller's.

    Users that are there already are known by their e-mail, photos by user, name and date, tokens by their hash, and
    embeddings by user and every bit. Ids stay as they are, but for those that somebody else in the gallery has.

    Args:
        connection: in a transaction, which the caller undoes on an error.
        old: what to write.
        copies: copies the photo files.
        merge: whether the gallery may hold anything.
        on_rows: is told of the progress.

    Raises:
        MigrationError: the gallery is not empty, lacks some of these rows, and they are not to be merged.

    """
    connection.execute(queries()["lock_enrollment"])
    connection.execute(queries()["lock_tables_for_migration"])
    empty = count_rows(connection).nothing
    ((now,),) = connection.execute("SELECT localtimestamp").fetchall()
    writer = _Writer(connection, old, copies, now)
    users, new_users = writer.users()
    photos, new_photos = writer.photos(users)
    new_tokens = writer.tokens(users)
    writer.move_sequences()
    embeddings = _Embeddings(old, users, photos, on_rows)
    new_embeddings = embeddings.copy(connection) if empty else embeddings.merge(connection)
    new = Counts(new_users, new_photos, new_tokens, new_embeddings)
    if not empty and not merge and not new.nothing:
        raise MigrationError(
            f"The gallery is not empty, and {_told(new)} of the old installation are not in it; add --merge to put "
            "them beside what is there, or choose another gallery with PGFACE_SCHEMA. Nothing was written."
        )
    return Written(new, users)


def count_rows(connection: psycopg.Connection) -> Counts:
    """How many rows the gallery has."""
    (counts,) = connection.execute(queries()["count_rows"]).fetchall()
    return Counts(*counts)


def _told(new: Counts) -> str:
    named = (("users", new.users), ("photos", new.photos), ("tokens", new.tokens), ("embeddings", new.embeddings))
    return ", ".join(f"{count:,} {what}" for what, count in named if count)


class _Writer:
    """Users, photos and tokens, each with its id or, where somebody else has that, a new one."""

    def __init__(
        self, connection: psycopg.Connection, old: OldInstallation, copies: PhotoCopies, now: datetime
    ) -> None:
        self._connection = connection
        self._old = old
        self._copies = copies
        self._now = now
        """For what has no date of its own, as the specification's default would."""

    def users(self) -> tuple[dict[int, int], int]:
        """The gallery's id of each old user, and how many are new."""
        there = self._rows("select_migrated_users")
        by_email = {email: number for number, email in there}
        known = {user.id: by_email[user.email.lower()] for user in self._old.users if user.email.lower() in by_email}
        new = [user for user in self._old.users if user.id not in known]
        ids = _ids((user.id for user in new), {number for number, _ in there}, {user.id for user in self._old.users})
        self._copy(
            "copy_migrated_users",
            ((ids[u.id], u.name, u.email, u.password, u.created_at or self._now) for u in new),
        )
        return known | ids, len(new)

    def photos(self, users: dict[int, int]) -> tuple[dict[int, int], int]:
        """The gallery's id of each old photo, and how many are new."""
        there = self._rows("select_migrated_photos")
        unmatched = {name: deque(rows) for name, rows in _grouped(there).items()}
        known: dict[int, int] = {}
        new: list[OldPhoto] = []
        for photo in self._old.photos:
            # Each row of the gallery is one old photo at most: two photos of a user may have the same name.
            same = unmatched.get((users[photo.user_id], photo.filename), deque())
            match = next((row for row in same if photo.created_at in (row[3], None)), None)
            if match is None:
                new.append(photo)
            else:
                same.remove(match)
                known[photo.id] = match[0]
        taken = {number for number, *_ in there}
        ids = _ids((photo.id for photo in new), taken, {photo.id for photo in self._old.photos})
        self._copy(
            "copy_migrated_photos",
            (
                (
                    ids[p.id],
                    users[p.user_id],
                    p.filename,
                    self._copies.copy(p),
                    p.width,
                    p.height,
                    p.created_at or self._now,
                )
                for p in new
            ),
        )
        return known | ids, len(new)

    def tokens(self, users: dict[int, int]) -> int:
        """Write the tokens; returns how many are new."""
        there = self._rows("select_migrated_tokens")
        hashes = {token for _, token in there}
        new = [token for token in self._old.tokens if token.token_hash not in hashes]
        ids = _ids((t.id for t in new), {number for number, _ in there}, {t.id for t in self._old.tokens})
        self._copy(
            "copy_migrated_tokens",
            (
                (
                    ids[t.id],
                    users[t.user_id],
                    t.token_hash,
                    t.confidence,
                    t.created_at or self._now,
                    t.expires_at,
                    t.is_active,
                )
                for t in new
            ),
        )
        return len(new)

    def move_sequences(self) -> None:
        self._connection.execute(queries()["move_sequences_behind_ids"])

    def _rows(self, name: str) -> list[Any]:
        return self._connection.execute(queries()[name]).fetchall()

    def _copy(self, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(queries()[name]) as copy:
            for row in rows:
                copy.write_row(row)


def _grouped(photos: list[Any]) -> dict[tuple[int, str], list[Any]]:
    """Rows of `photos` by user and name."""
    by_name: dict[tuple[int, str], list[Any]] = {}
    for row in photos:
        by_name.setdefault((row[1], row[2]), []).append(row)
    return by_name


def _ids(new: Iterable[int], taken: set[int], old: set[int]) -> dict[int, int]:
    """An id for each new row: its own, or where another row has that, one that is nobody's."""
    unused = max(taken | old, default=0)
    ids = {}
    for number in new:
        if number in taken:
            unused += 1
        ids[number] = unused if number in taken else number
    return ids


class _Embeddings:
    """The embeddings, with the gallery's ids of their users and photos."""

    def __init__(
        self, old: OldInstallation, users: dict[int, int], photos: dict[int, int], on_rows: OnRows | None
    ) -> None:
        self._old = old
        self._users = _renamed(old.owners, users)
        self._photos = _renamed(old.photo_of_each(), photos)
        self._on_rows = on_rows

    def copy(self, connection: psycopg.Connection) -> int:
        """Write all of them; returns how many."""
        self._send(connection, queries()["copy_migrated_embeddings"])
        return len(self._users)

    def merge(self, connection: psycopg.Connection) -> int:
        """Write those that their users do not have yet; returns how many."""
        if not len(self._users):
            return 0
        connection.execute(queries()["create_staged_embeddings"])
        self._send(connection, queries()["copy_staged_embeddings"])
        return connection.execute(queries()["insert_staged_embeddings"]).rowcount

    def _send(self, connection: psycopg.Connection, statement: LiteralString) -> None:
        total = len(self._users)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(BEGIN)
            for start in range(0, total, BLOCK):
                rows = slice(start, start + BLOCK)
                copy.write(packed_with_photos(self._users[rows], self._photos[rows], self._old.embeddings(rows)))
                if self._on_rows is not None:
                    self._on_rows(min(start + BLOCK, total), total)
            copy.write(END)


def _renamed(numbers: NDArray[np.int32], ids: dict[int, int]) -> NDArray[np.int32]:
    """The gallery's ids of old ones, shape (n,); 0 stays 0."""
    distinct, places = np.unique(numbers, return_inverse=True)
    return np.array([ids.get(int(number), 0) for number in distinct], np.int32)[places]


def embeddings_of_each(users: dict[int, int], owners: NDArray[np.int32]) -> Counter[int]:
    """How many embeddings each of the gallery's users has to have at least."""
    distinct, counts = np.unique(owners, return_counts=True)
    return Counter({users[int(number)]: int(count) for number, count in zip(distinct, counts, strict=True)})
