"""Load synthetic people into a temporary gallery."""

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
from pgface.search.state import SearchMethod
from pgface.settings import Settings

IDENTIFY_THRESHOLD = 0.4
"""Like a gallery of InsightFace's models, whose similarities the synthetic people resemble."""
_VERIFY_THRESHOLD = 0.3
_BATCH_USERS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class LoadedGallery:
    """Synthetic people in PostgreSQL, and the same embeddings in this process."""

    settings: Settings
    gallery: Gallery
    database: Database
    synthetic: SyntheticPeople
    people: int
    embeddings: NDArray[np.float32]
    """The embeddings, shape (people × 5, 512)."""
    user_ids: NDArray[np.int64]
    """The user id of each synthetic person, shape (people,)."""
    persons: dict[int, int]
    """The number of the synthetic person for each user id."""
    load_seconds: float

    @property
    def faces(self) -> int:
        """The number of embeddings."""
        return len(self.embeddings)


@contextmanager
def loaded_gallery(
    settings: Settings, synthetic: SyntheticPeople, people: int, *, method: SearchMethod = "auto"
) -> Iterator[LoadedGallery]:
    """Create a gallery of synthetic people in a temporary schema.

    Args:
        settings: the server. The schema in the settings is not touched.
        synthetic: the people to enroll.
        people: the number of people, with five photos each.
        method: the search method. With "auto", pgface chooses it.

    Raises:
        DatabaseError: PostgreSQL failed or could not be reached.

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
    """Create an empty gallery in a temporary schema."""
    with scratch_gallery(settings) as own, Database.open(own) as database:
        # Templates and indexes depend on the gallery's threshold, and that of an unbound gallery is far too high.
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
    """Add users. Returns their ids, in the order of the synthetic people."""
    ids: list[int] = []
    for first in range(0, people, _BATCH_USERS):
        names = [f"synthetic-{number}" for number in range(first, min(first + _BATCH_USERS, people))]
        emails = [f"{name}@example.org" for name in names]
        with database.transaction() as connection:
            connection.execute(queries()["insert_users"], {"names": names, "emails": emails, "password": "!"})
            found = dict(connection.execute(queries()["select_user_ids"], {"spellings": emails}).fetchall())
        ids += (found[email] for email in emails)
    return np.array(ids)
