"""Putting synthetic people into a gallery for the length of a measurement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.gallery import Gallery
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, SyntheticPeople
from pgface.operations.bench.workspace import scratch_gallery
from pgface.search import SearchMethod
from pgface.settings import Settings

IDENTIFY_THRESHOLD = 0.4
"""As of a gallery of InsightFace's models, whose similarities the synthetic ones are like."""
_VERIFY_THRESHOLD = 0.3
_BLOCK = 10_000
"""Users added in one statement."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedGallery:
    """Synthetic people in PostgreSQL, and the same embeddings in this process."""

    settings: Settings
    gallery: Gallery
    database: Database
    synthetic: SyntheticPeople
    people: int
    embeddings: NDArray[np.float32]
    """Shape (people × 5, 512)."""
    user_ids: NDArray[np.int64]
    """Shape (people,)."""
    persons: dict[int, int]
    """The other way round: whom of the synthetic people a user id means."""
    load_seconds: float

    @property
    def faces(self) -> int:
        """How many embeddings there are."""
        return len(self.embeddings)


@contextmanager
def loaded_gallery(
    settings: Settings, synthetic: SyntheticPeople, people: int, *, method: SearchMethod = "auto"
) -> Iterator[LoadedGallery]:
    """A gallery of so many people in a schema of its own, which is dropped at the end.

    Args:
        settings: where the server is; its schema is not touched.
        synthetic: who is enrolled.
        people: how many of them, five photos each.
        method: how to search; "auto" leaves it to pgface.

    Raises:
        DatabaseError: PostgreSQL could not be reached, or refused.

    """
    embeddings = synthetic.embeddings(people)
    with empty_gallery(settings) as (own, gallery, database):
        user_ids = add_users(database, people)
        began = time.perf_counter()
        gallery.load_embeddings(user_ids.repeat(PHOTOS_PER_PERSON), embeddings)
        if method != "auto":
            gallery.fit_search(method)
        took = time.perf_counter() - began
        persons = {user_id: person for person, user_id in enumerate(user_ids.tolist())}
        yield LoadedGallery(own, gallery, database, synthetic, people, embeddings, user_ids, persons, took)


@contextmanager
def empty_gallery(settings: Settings) -> Iterator[tuple[Settings, Gallery, Database]]:
    """A gallery for synthetic people in a schema of its own, which is dropped at the end."""
    with scratch_gallery(settings) as own, Database.open(own) as database:
        # Templates and indexes are made for the gallery's own threshold, and an unbound gallery's is far too high.
        with database.autocommit() as connection:
            connection.execute(queries()["bind_gallery"], _BINDING)
        with Gallery.open(own) as gallery:
            yield own, gallery, database


_BINDING = {
    "name": "synthetic",
    "dimension": 512,
    "detector_size": None,
    "weights_sha256": None,
    "verify_threshold": _VERIFY_THRESHOLD,
    "identify_threshold": IDENTIFY_THRESHOLD,
}


def add_users(database: Database, people: int) -> NDArray[np.int64]:
    """Ids of new users, in the order of the synthetic people."""
    ids: list[int] = []
    for first in range(0, people, _BLOCK):
        names = [f"synthetic-{number}" for number in range(first, min(first + _BLOCK, people))]
        emails = [f"{name}@example.org" for name in names]
        with database.transaction() as connection:
            connection.execute(queries()["insert_users"], {"names": names, "emails": emails, "password": "!"})
            found = dict(connection.execute(queries()["select_user_ids"], {"spellings": emails}).fetchall())
        ids += (found[email] for email in emails)
    return np.array(ids)
