"""Whether what was migrated is in the gallery, and is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgface.database.sql import queries
from pgface.errors import MigrationError
from pgface.operations.legacy.installation import OldInstallation
from pgface.operations.legacy.plan import Counts, count_rows
from pgface.operations.legacy.write import Written, embeddings_of_each
from pgface.text import counted

_SAMPLE = 20
_ALMOST_ONE = 1 - 1e-6
"""The least similarity that an embedding has to itself, in the arithmetic of pgvector."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared."""

    users: int
    """Whose embeddings were counted."""
    sample: int
    """Embeddings that were looked for among all."""


def verify_rows(connection: psycopg.Connection, old: OldInstallation, written: Written, before: Counts) -> int:
    """Count rows by table and by user, and compare a sample of embeddings bit by bit, before anything is committed.

    Returns:
        How many users' embeddings were counted.

    Raises:
        MigrationError: something is not there.

    """
    now = count_rows(connection)
    for table in ("users", "photos", "tokens", "embeddings"):
        wanted = getattr(before, table) + getattr(written.new, table)
        if getattr(now, table) != wanted:
            raise MigrationError(f"There are {getattr(now, table):,} {table} and not {wanted:,}; nothing was written.")
    wanted_of_each = embeddings_of_each(written.users, old.owners)
    rows = connection.execute(queries()["count_embeddings_of_users"], {"ids": list(wanted_of_each)})
    stored: dict[int, int] = dict(rows.fetchall())
    exact = not before.embeddings
    for user, count in wanted_of_each.items():
        has = stored.get(user, 0)
        if has < count if not exact else has != count:
            raise MigrationError(f"User {user} has {counted(has, 'embedding')} and not {count:,}; nothing was written.")
    for user, embedding in _sample(old, written):
        values = {"user_id": user, "embedding": embedding}
        if connection.execute(queries()["embedding_is_stored"], values).fetchone() != (True,):
            raise MigrationError(f"An embedding of user {user} did not arrive as it was; nothing was written.")
    return len(wanted_of_each)


def verify_search(connection: psycopg.Connection, old: OldInstallation, written: Written) -> int:
    """Look for a sample of embeddings among all in the gallery: each must find its own user first, itself exactly.

    Returns:
        How many were looked for.

    Raises:
        MigrationError: one does not.

    """
    sample = _sample(old, written)
    for user, embedding in sample:
        found = connection.execute(queries()["nearest_users_exactly"], {"embedding": embedding}).fetchall()
        # One person under two names may have the very same photo twice: both are first then.
        first = [number for number, similarity in found if similarity >= _ALMOST_ONE]
        if user not in first:
            raise MigrationError(f"Everything was written, but an embedding of user {user} does not find itself first.")
    return len(sample)


def _sample(old: OldInstallation, written: Written) -> list[tuple[int, NDArray[Any]]]:
    """Embeddings as the gallery has them, each with its user, drawn at random; the same ones at every call."""
    count = len(old.owners)
    rows = np.sort(np.random.default_rng(0).choice(count, min(_SAMPLE, count), replace=False))
    return [(written.users[int(old.owners[row])], old.embeddings(slice(row, row + 1))[0]) for row in rows.tolist()]
