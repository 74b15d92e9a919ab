"""Temporary galleries of synthetic people, each in its own schema."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database, initialise
from pgface.database.sql import queries
from pgface.errors import DatabaseError, DatabaseUnreachableError
from pgface.gallery import Gallery
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, SyntheticPeople
from pgface.search.state import SearchMethod
from pgface.settings import Settings
from pgface.system.signals import ignore_termination

PREFIX = "pgface_bench_"
"""The start of every temporary schema's name."""
IDENTIFY_THRESHOLD = 0.4
"""Like a gallery of InsightFace's models, whose similarities the synthetic people resemble."""
MODEL = {
    "name": "synthetic",
    "dimension": 512,
    "alignment_size": None,
    "weights_sha256": None,
    "verify_threshold": 0.3,
    "identify_threshold": IDENTIFY_THRESHOLD,
}
_TIMEOUT_AFTER_LOSS = 2.0
"""Seconds to wait for a server that has just become unreachable."""
_ADD_USERS = """
INSERT INTO users (name, email, password)
SELECT 'synthetic-' || number, 'synthetic-' || number || '@example.org', '!'
FROM generate_series(0, %s - 1) AS number
RETURNING id
"""


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
    """Create an empty gallery for synthetic people in a temporary schema. Gives its settings, too."""
    with scratch_gallery(settings) as own, Database.open(own) as database:
        # Templates and indexes depend on the gallery's threshold, and that of an unbound gallery is far too high.
        with database.autocommit() as connection:
            connection.execute(queries()["bind_gallery"], MODEL)
        with Gallery.open(own) as gallery:
            yield own, gallery, database


def add_users(database: Database, people: int) -> NDArray[np.int64]:
    """Add users. Returns their ids, in the order of the synthetic people."""
    with database.transaction() as connection:
        return np.array(connection.execute(_ADD_USERS, (people,)).fetchall(), np.int64).reshape(-1)


@contextmanager
def scratch_gallery(settings: Settings) -> Iterator[Settings]:
    """Create an empty gallery without a model in a temporary schema. Gives its settings.

    If the database does not have pgvector, it is added and stays.

    Raises:
        DatabaseError: PostgreSQL failed or could not be reached.

    """
    with scratch_schema(settings) as (name, _):
        own = settings.model_copy(update={"schema_name": name})
        initialise(own)
        yield own


@contextmanager
def scratch_schema(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give an unused name for a schema, and the server's URL. The schema is dropped at the end, even after errors."""
    name = f"{PREFIX}{secrets.token_hex(4)}"
    with server(settings) as url:
        timeout = settings.connect_timeout
        try:
            yield name, url
        except DatabaseUnreachableError:
            timeout = _TIMEOUT_AFTER_LOSS  # the full timeout has passed already
            raise
        finally:
            with ignore_termination():  # a second Ctrl-C would leave the schema behind
                _drop(url, name, timeout)


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """Give the URL of PostgreSQL, which may hold a password. The embedded server runs until the context ends."""
    if settings.database_url is not None:
        yield (settings.direct_url or settings.database_url).get_secret_value()
    else:
        with EmbeddedPostgres(settings.postgres_dir) as embedded:
            yield embedded.url


def _drop(url: str, schema_name: str, timeout: float) -> None:
    statement = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema_name))
    try:
        with (
            wrap_psycopg_errors(),
            psycopg.connect(url, autocommit=True, connect_timeout=round(timeout) + 1) as connection,
            connection.transaction(),  # so that no setting stays in a pooler's connection
        ):
            # Otherwise a notice would name each table.
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute("SET LOCAL lock_timeout = '60s'")
            connection.execute(statement)
    except DatabaseError as error:
        raise DatabaseError(
            f"The benchmark's schema could not be dropped ({str(error).rstrip('.')}). "
            f"When the server is back, run DROP SCHEMA {schema_name} CASCADE."
        ) from error
