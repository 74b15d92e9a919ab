"""Writes an old installation into a gallery, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from pgface.database.sql import queries
from pgface.gallery.bulk import BLOCK
from pgface.gallery.users import unique_external_id
from pgface.operations.legacy.installation import OldInstallation, OldUser
from pgface.operations.legacy.photo_copies import PhotoCopies
from pgface.operations.legacy.plan import Counts, Plan, make_plan, require_merge_or_empty_gallery
from pgface.vectors import COPY_HEADER, COPY_TRAILER, pack_rows_with_photos

OnRows = Callable[[int, int], None]
"""Called with the numbers of sent and of all embeddings."""


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """The result of writing the old rows."""

    new: Counts
    """The rows that were added."""
    plan: Plan
    adopted_files: int
    """The number of photo files that were copied for existing rows."""


def write(
    connection: psycopg.Connection, old: OldInstallation, copies: PhotoCopies, *, merge: bool, on_rows: OnRows | None
) -> Written:
    """Write the rows that are not in the gallery yet.

    `Plan` describes how existing rows are matched. Existing embeddings are matched by user and all bits. The connection
    is in a transaction, which the caller rolls back after an error.

    Raises:
        MigrationError: `merge` is false, and the gallery has rows, but not all of these rows.

    """
    connection.execute(queries()["lock_enrollment"])
    connection.execute(queries()["lock_tables_for_migration"])
    plan = make_plan(connection, old)
    if not merge:
        require_merge_or_empty_gallery(connection, old, plan)
    ((now,),) = connection.execute("SELECT localtimestamp").fetchall()
    _write_rows(connection, plan, copies, now.replace(tzinfo=None))
    adopted = _adopt_files(connection, plan, copies)
    connection.execute(queries()["move_sequences_behind_ids"])
    embeddings = _Embeddings(old, plan.users, plan.photos, on_rows)
    if plan.before.nothing:
        new_embeddings = embeddings.copy(connection)
    else:
        new_embeddings = embeddings.merge(connection) if merge else 0
    return Written(plan.new(new_embeddings), plan, adopted)


def _write_rows(connection: psycopg.Connection, plan: Plan, copies: PhotoCopies, now: datetime) -> None:
    """Write users, photos and tokens. Rows without a date get `now`, as by the specification's default."""
    ids = plan.users
    # Before the rows are copied, because a crop may be written with the same connection.
    paths = [copies.copy(photo) for photo in plan.new_photos]
    with unique_external_id():
        _copy(connection, "copy_migrated_users", (_row(ids[u.id], u, now) for u in plan.new_users))
    passwords = [{"id": number, "password": password} for number, password in plan.passwords.items()]
    with connection.cursor() as cursor:
        cursor.executemany(queries()["set_migrated_password"], passwords)
    _copy(
        connection,
        "copy_migrated_photos",
        (
            (plan.photos[p.id], ids[p.user_id], p.filename, path, p.width, p.height, p.created_at or now)
            for p, path in zip(plan.new_photos, paths, strict=True)
        ),
    )
    _copy(
        connection,
        "copy_migrated_tokens",
        (
            (
                plan.tokens[t.id],
                ids[t.user_id],
                t.token_hash,
                t.confidence,
                t.created_at or now,
                t.expires_at,
                t.is_active,
            )
            for t in plan.new_tokens
        ),
    )


def _row(user_id: int, user: OldUser, now: datetime) -> tuple[Any, ...]:
    about = user.attributes
    own = (user_id, user.name, user.email, user.password, user.created_at or now)
    return (*own, about.external_id, list(about.labels), Jsonb(about.metadata), user.is_person)


def _adopt_files(connection: psycopg.Connection, plan: Plan, copies: PhotoCopies) -> int:
    """Copy the files of rows that were migrated without them, and return their number."""
    copied = ((photo, copies.copy(photo)) for photo in plan.old_paths)
    changed = [{"id": plan.photos[p.id], "filepath": path} for p, path in copied if path != p.filepath]
    with connection.cursor() as cursor:
        cursor.executemany(queries()["set_migrated_filepath"], changed)
    return len(changed)


def _copy(connection: psycopg.Connection, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(queries()[name]) as copy:
        for row in rows:
            copy.write_row(row)


class _Embeddings:
    """Writes the embeddings with the gallery's ids of their users and photos."""

    def __init__(
        self, old: OldInstallation, users: dict[int, int], photos: dict[int, int], on_rows: OnRows | None
    ) -> None:
        self._old = old
        self._users = _renamed(old.owners, users)
        self._photos = _renamed(old.photo_of_each(), photos)
        self._on_rows = on_rows

    def copy(self, connection: psycopg.Connection) -> int:
        """Write all embeddings, and return their number."""
        self._send(connection, queries()["copy_migrated_embeddings"])
        return len(self._users)

    def merge(self, connection: psycopg.Connection) -> int:
        """Write the embeddings that their users do not have yet, and return their number."""
        if not len(self._users):
            return 0
        connection.execute(queries()["create_staged_embeddings"])
        self._send(connection, queries()["copy_staged_embeddings"])
        return connection.execute(queries()["insert_staged_embeddings"]).rowcount

    def _send(self, connection: psycopg.Connection, statement: LiteralString) -> None:
        total = len(self._users)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(COPY_HEADER)
            for start in range(0, total, BLOCK):
                rows = slice(start, start + BLOCK)
                copy.write(pack_rows_with_photos(self._users[rows], self._photos[rows], self._old.embeddings(rows)))
                if self._on_rows is not None:
                    self._on_rows(min(start + BLOCK, total), total)
            copy.write(COPY_TRAILER)


def _renamed(numbers: NDArray[np.int32], ids: dict[int, int]) -> NDArray[np.int32]:
    """Replace old ids by the gallery's ids, shape (n,). 0 remains 0."""
    distinct, places = np.unique(numbers, return_inverse=True)
    return np.array([ids.get(int(number), 0) for number in distinct], np.int32)[places]


def embeddings_of_each(users: dict[int, int], owners: NDArray[np.int32]) -> Counter[int]:
    """Count the old embeddings of each user, by the gallery's ids."""
    distinct, counts = np.unique(owners, return_counts=True)
    return Counter({users[int(number)]: int(count) for number, count in zip(distinct, counts, strict=True)})
