"""Verifies that migrated rows are in the gallery, and that search finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.database.sql import queries
from pgface.errors import MigrationError
from pgface.operations.legacy.installation import OldInstallation
from pgface.operations.legacy.plan import count_rows
from pgface.operations.legacy.write import Written, embeddings_of_each
from pgface.text import counted

_SAMPLE_SIZE = 20
_MIN_SELF_SIMILARITY = 1 - 1e-6
"""The lowest similarity of an embedding to itself, after pgvector's rounding."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of the verification."""

    users: int
    """The number of users whose embeddings were counted."""
    sample: int
    """The number of embeddings that were searched."""


def verify_rows(connection: psycopg.Connection, old: OldInstallation, written: Written) -> int:
    """Count rows by table and by user, and compare a sample of embeddings bit by bit. Return the number of users.

    Raises:
        MigrationError: a row is missing or was changed.

    """
    before, now = written.plan.before, count_rows(connection)
    for table in ("users", "photos", "tokens", "embeddings"):
        wanted = getattr(before, table) + getattr(written.new, table)
        if getattr(now, table) != wanted:
            raise MigrationError(f"There are {getattr(now, table):,} {table} and not {wanted:,}. Nothing was written.")
    wanted_of_each = embeddings_of_each(written.plan.users, old.owners)
    rows = connection.execute(queries()["count_embeddings_of_users"], {"ids": list(wanted_of_each)})
    stored: dict[int, int] = dict(rows.fetchall())
    exact = not before.embeddings
    for user, count in wanted_of_each.items():
        has = stored.get(user, 0)
        if has < count if not exact else has != count:
            raise MigrationError(f"User {user} has {counted(has, 'embedding')} and not {count:,}. Nothing was written.")
    for user, embedding in _sample(old, written):
        values = {"user_id": user, "embedding": embedding}
        if connection.execute(queries()["embedding_is_stored"], values).fetchone() != (True,):
            raise MigrationError(
                f"An embedding of user {user} differs from the old file after writing. Nothing was written."
            )
    return len(wanted_of_each)


def verify_search(connection: psycopg.Connection, old: OldInstallation, written: Written) -> int:
    """Check that each embedding of a sample finds its own user first. Return the size of the sample.

    Raises:
        MigrationError: an embedding does not find its user.

    """
    sample = _sample(old, written)
    for user, embedding in sample:
        if not finds_its_user(connection, user, embedding):
            raise MigrationError(f"Everything was written, but search does not find an embedding of user {user}.")
    return len(sample)


def finds_its_user(connection: psycopg.Connection, user: int, embedding: Any) -> bool:
    """Whether an exact search for a stored embedding finds its user first."""
    found = connection.execute(queries()["nearest_users_exactly"], {"embedding": embedding}).fetchall()
    # Two users may have the same photo. Then both are first.
    return user in [number for number, similarity in found if similarity >= _MIN_SELF_SIMILARITY]


def _sample(old: OldInstallation, written: Written) -> list[tuple[int, NDArray[Any]]]:
    """Draw random embeddings, each with the gallery's id of its user. Every call returns the same ones."""
    count = len(old.owners)
    rows = np.sort(np.random.default_rng(0).choice(count, min(_SAMPLE_SIZE, count), replace=False))
    return [(written.plan.users[int(old.owners[row])], old.embeddings(slice(row, row + 1))[0]) for row in rows.tolist()]
