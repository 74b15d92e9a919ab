"""Plans a migration: finds the old rows that a gallery already has, and the new ones. Nothing is written."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.database.sql import queries
from pgface.errors import MigrationError
from pgface.gallery.bulk import BLOCK
from pgface.gallery.users import UNUSABLE_PASSWORD
from pgface.operations.legacy.installation import OldInstallation, OldPhoto, OldToken, OldUser
from pgface.text import counted, same_email


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of rows of each table."""

    users: int
    photos: int
    tokens: int
    embeddings: int

    @property
    def nothing(self) -> bool:
        """Whether there are no rows."""
        return not (self.users or self.photos or self.tokens or self.embeddings)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The old rows that a gallery already has, the new ones, and their ids in the gallery.

    Existing users are matched by e-mail, photos by user, name and date, and tokens by hash. A row keeps its id, unless
    another row of the gallery has that id.
    """

    before: Counts
    """The rows of the gallery before the migration."""
    users: dict[int, int]
    """The gallery's id of each old user."""
    new_users: list[OldUser]
    passwords: dict[int, str]
    """Hashes for existing users without a password, by the gallery's id."""
    kept_passwords: tuple[str, ...]
    """Old users for whom the gallery has another hash, which it keeps."""
    photos: dict[int, int]
    """The gallery's id of each old photo."""
    new_photos: list[OldPhoto]
    old_paths: list[OldPhoto]
    """Existing photos that still have their old path, because their file was not copied."""
    tokens: dict[int, int]
    """The gallery's id of each new token."""
    new_tokens: list[OldToken]

    def new(self, embeddings: int) -> Counts:
        """Count the new rows, with this number of embeddings."""
        return Counts(len(self.new_users), len(self.new_photos), len(self.new_tokens), embeddings)


def make_plan(connection: psycopg.Connection, old: OldInstallation) -> Plan:
    """Compare the old rows with the gallery. The plan is valid until another session writes."""
    users, new_users, passwords, kept = _users(connection, old)
    photos, new_photos, old_paths = _photos(connection, old, users)
    stored = connection.execute(queries()["select_migrated_tokens"]).fetchall()
    hashes = {token for _, token in stored}
    new_tokens = [token for token in old.tokens if token.token_hash not in hashes]
    tokens = _ids((t.id for t in new_tokens), {number for number, _ in stored}, {t.id for t in old.tokens})
    before = count_rows(connection)
    return Plan(before, users, new_users, passwords, kept, photos, new_photos, old_paths, tokens, new_tokens)


def count_rows(connection: psycopg.Connection) -> Counts:
    """Count the rows of the gallery."""
    (counts,) = connection.execute(queries()["count_rows"]).fetchall()
    return Counts(*counts)


def require_merge_or_empty_gallery(connection: psycopg.Connection, old: OldInstallation, plan: Plan) -> None:
    """Check that a migration without `merge` is allowed: the gallery is empty, or has all old rows already.

    Raises:
        MigrationError: the gallery has rows, but not all of the old ones.

    """
    if plan.before.nothing:
        return
    new = plan.new(_count_new_embeddings(connection, old, plan.users))
    if not new.nothing or plan.passwords:
        raise MigrationError(
            f"The gallery is not empty, and {_listed(new, len(plan.passwords))} of the old installation are not in it. "
            "Use `merge=True` to add them, or choose another gallery with PGFACE_SCHEMA. Nothing was written."
        )


def _users(
    connection: psycopg.Connection, old: OldInstallation
) -> tuple[dict[int, int], list[OldUser], dict[int, str], tuple[str, ...]]:
    stored = connection.execute(queries()["select_migrated_users"]).fetchall()
    by_email = {same_email(email): (number, password) for number, email, password in stored}
    known: dict[int, int] = {}
    new: list[OldUser] = []
    passwords: dict[int, str] = {}
    kept: list[str] = []
    for user in old.users:
        if same_email(user.email) not in by_email:
            new.append(user)
            continue
        known[user.id], password = by_email[same_email(user.email)]
        if user.password in (UNUSABLE_PASSWORD, password):
            continue
        if password == UNUSABLE_PASSWORD:
            passwords[known[user.id]] = user.password
        else:
            kept.append(f"users {user.id}: {user.email}")
    ids = _ids((user.id for user in new), {number for number, *_ in stored}, {user.id for user in old.users})
    return known | ids, new, passwords, tuple(kept)


def _photos(
    connection: psycopg.Connection, old: OldInstallation, users: dict[int, int]
) -> tuple[dict[int, int], list[OldPhoto], list[OldPhoto]]:
    stored = connection.execute(queries()["select_migrated_photos"]).fetchall()
    unmatched: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for row in stored:
        unmatched[row[1], row[2]].append(row)
    known: dict[int, int] = {}
    new: list[OldPhoto] = []
    old_paths: list[OldPhoto] = []
    for photo in old.photos:
        same = unmatched[users[photo.user_id], photo.filename]
        match = _same_photo(photo, same)
        if match is None:
            new.append(photo)
            continue
        same.remove(match)  # two photos of a user may have the same name, so each row is matched only once
        known[photo.id] = match[0]
        if match[4] == photo.filepath:
            old_paths.append(photo)
    ids = _ids((photo.id for photo in new), {number for number, *_ in stored}, {photo.id for photo in old.photos})
    return known | ids, new, old_paths


def _same_photo(photo: OldPhoto, rows: Iterable[Any]) -> Any | None:
    """Find the row of a photo by date. Of several rows, prefer the one with the same path, then with the same id."""
    # The old dates have no time zone, so only the local times are compared.
    alike = [row for row in rows if photo.created_at in (row[3] and row[3].replace(tzinfo=None), None)]
    return min(alike, key=lambda row: (row[4] != photo.filepath, row[0] != photo.id), default=None)


def _ids(new: Iterable[int], taken: set[int], old: set[int]) -> dict[int, int]:
    """Give an id to each new row: its old one, or an unused one if another row has that."""
    unused = max(taken | old, default=0)
    ids = {}
    for number in new:
        if number in taken:
            unused += 1
        ids[number] = unused if number in taken else number
    return ids


def _count_new_embeddings(connection: psycopg.Connection, old: OldInstallation, users: dict[int, int]) -> int:
    """Count the embeddings that their users do not have yet, for some users at a time."""
    order = np.argsort(old.owners, kind="stable")
    owners = old.owners[order]
    new = start = 0
    while start < len(order):
        last = owners[min(start + BLOCK, len(order)) - 1]
        end = int(np.searchsorted(owners, last, side="right"))
        ids = [users[int(number)] for number in owners[start:end]]
        rows = connection.execute(queries()["embeddings_of_migrated_users"], {"ids": list(set(ids))}, binary=True)
        stored = {(user, _digest(vector.to_numpy())) for user, vector in rows}
        given = zip(ids, old.embeddings(order[start:end]), strict=True)
        new += sum((user, _digest(vector)) not in stored for user, vector in given)
        start = end
    return new


def _digest(vector: NDArray[np.float32]) -> bytes:
    # Adding 0 turns -0 into 0, because pgvector treats them as equal.
    return hashlib.sha256((vector + np.float32(0)).astype("<f4").tobytes()).digest()


def _listed(new: Counts, passwords: int) -> str:
    counts = {
        "user": new.users,
        "photo": new.photos,
        "token": new.tokens,
        "embedding": new.embeddings,
        "password": passwords,
    }
    return ", ".join(counted(count, noun) for noun, count in counts.items() if count)
