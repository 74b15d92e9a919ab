"""Reads the PostgreSQL of CompreFace 0.6 to 1.2: services, subjects, examples and stored images.

Nothing is written there. Each statement reads a page in a transaction of its own, so that no snapshot stays open for
hours. Source of the tables: Exadel, CompreFace 1.2.0, `java/admin/src/main/resources/db/changelog`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from pgface.database.errors import connection_error, wrap_psycopg_errors
from pgface.errors import DatabaseError, MigrationError

ServiceType = Literal["recognition", "detection", "verification"]
_TYPES: Final[dict[str, ServiceType]] = {"R": "recognition", "D": "detection", "V": "verification"}
TABLES: Final = {
    "app": ("id", "name"),
    "model": ("id", "name", "app_id", "api_key", "type"),
    "subject": ("id", "api_key", "subject_name"),
    "img": ("id", "content"),
    "embedding": ("id", "subject_id", "img_id"),
}
"""The tables and columns that are read. Each version of CompreFace since 0.6 has them."""
_DEMO_KEYS: Final = frozenset(f"00000000-0000-0000-0000-00000000000{number}" for number in (2, 3, 4))
"""The keys of the demo that every installation of CompreFace begins with. Its source publishes them."""
_MAX_SERVICES = 10_000
_PAGE_ROWS = 500
_CONNECT_TIMEOUT = 10.0
"""Seconds."""
_NO_TABLE = "CompreFace 0.6 and later have one. Give the database of CompreFace, and upgrade an older one first."


@dataclass(frozen=True, slots=True)
class Service:
    """A service of CompreFace. Its key is also the owner of its subjects."""

    application: str
    name: str
    type: ServiceType
    api_key: str = field(repr=False)

    @property
    def title(self) -> str:
        """The names of the application and of the service."""
        return f"{self.application}/{self.name}"

    @property
    def is_demo(self) -> bool:
        """Whether it is a service of CompreFace's demo, whose key anyone knows."""
        return self.api_key.lower() in _DEMO_KEYS


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject of a service."""

    id: UUID
    name: str
    """Empty if CompreFace has none."""


@dataclass(frozen=True, slots=True)
class Example:
    """A face of a subject. CompreFace calls its id `image_id`."""

    id: UUID
    subject_id: UUID
    image_id: UUID | None
    """None for an embedding without a stored image."""
    image_bytes: int | None
    """None without an image, and for one that was left out of a dump because it is too large."""


class Source:
    """CompreFace's tables, in a schema that a connection reaches."""

    def __init__(self, connection: psycopg.Connection[Any], schema_name: str) -> None:
        self._connection = connection
        self._schema = schema_name

    def services(self) -> list[Service]:
        """List the services by the order of their creation.

        Raises:
            MigrationError: there are too many services, or the database is not CompreFace's.

        """
        rows = self._read(
            "SELECT a.name, m.name, m.type, m.api_key "
            "FROM {schema}.model m LEFT JOIN {schema}.app a ON a.id = m.app_id "
            "WHERE m.api_key IS NOT NULL ORDER BY m.id LIMIT %(limit)s",
            limit=_MAX_SERVICES + 1,
        )
        if len(rows) > _MAX_SERVICES:
            raise MigrationError(f"There are more than {_MAX_SERVICES:,} services, so this is not CompreFace.")
        return [
            Service(application or "", name or "", _TYPES[kind], key)
            for application, name, kind, key in rows
            if kind in _TYPES
        ]

    def count_subjects(self, service: Service) -> int:
        """Count the subjects of a service."""
        statement: LiteralString = "SELECT count(*) FROM {schema}.subject WHERE api_key = %(key)s"
        return self._number(statement, key=service.api_key)

    def count_examples(self, service: Service) -> int:
        """Count the examples of a service, including those without an image."""
        return self._number(
            "SELECT count(*) FROM {schema}.embedding e JOIN {schema}.subject s ON s.id = e.subject_id "
            "WHERE s.api_key = %(key)s",
            key=service.api_key,
        )

    def same_subjects(self, service: Service) -> dict[UUID, UUID]:
        """Return subjects whose names differ only in case, with the subject that each belongs to.

        CompreFace's API ignores case, so it cannot tell them apart. The first in the order of names is kept.
        """
        groups = self._read(
            "SELECT array_agg(id ORDER BY subject_name, id) FROM {schema}.subject "
            "WHERE api_key = %(key)s AND subject_name <> '' GROUP BY lower(subject_name) HAVING count(*) > 1",
            key=service.api_key,
        )
        return {other: first for ((first, *others),) in groups for other in others}

    def subjects(self, service: Service) -> Iterator[list[Subject]]:
        """Give the subjects of a service in pages, in the order of their ids."""
        after = UUID(int=0)
        while rows := self._read(
            "SELECT id, coalesce(subject_name, '') FROM {schema}.subject "
            "WHERE api_key = %(key)s AND id > %(after)s ORDER BY id LIMIT %(limit)s",
            key=service.api_key,
            after=after,
            limit=_PAGE_ROWS,
        ):
            yield [Subject(*row) for row in rows]
            after = rows[-1][0]

    def examples(self, service: Service) -> Iterator[list[Example]]:
        """Give the examples of a service in pages, in the order of their ids."""
        after = UUID(int=0)
        while rows := self._read(
            "SELECT e.id, e.subject_id, e.img_id, octet_length(i.content) FROM {schema}.embedding e "
            "JOIN {schema}.subject s ON s.id = e.subject_id LEFT JOIN {schema}.img i ON i.id = e.img_id "
            "WHERE s.api_key = %(key)s AND e.id > %(after)s ORDER BY e.id LIMIT %(limit)s",
            key=service.api_key,
            after=after,
            limit=_PAGE_ROWS,
        ):
            yield [Example(*row) for row in rows]
            after = rows[-1][0]

    def image(self, image_id: UUID, max_bytes: int) -> bytes | None:
        """Return a stored image. None if it was deleted meanwhile, or is larger than this."""
        rows = self._read(
            "SELECT content FROM {schema}.img WHERE id = %(id)s AND octet_length(content) <= %(max_bytes)s",
            id=image_id,
            max_bytes=max_bytes,
        )
        return bytes(rows[0][0]) if rows else None

    def _number(self, statement: LiteralString, **values: Any) -> int:
        ((number,),) = self._read(statement, **values)
        return int(number)

    def _read(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        composed = sql.SQL(statement).format(schema=sql.Identifier(self._schema))
        try:
            with wrap_psycopg_errors(), self._connection.cursor(binary=True) as cursor:
                return cursor.execute(composed, values).fetchall()
        except DatabaseError as error:
            cause = error.__cause__
            if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
                raise MigrationError(f"{cause.diag.message_primary}. {_NO_TABLE}") from error
            raise


@contextmanager
def connected_source(url: str) -> Iterator[Source]:
    """Connect to CompreFace's PostgreSQL. Every transaction there is read only.

    Raises:
        DatabaseUnreachableError, DatabaseAccessError: no connection. The message says why.
        MigrationError: this is not a URL.

    """
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            application_name="pgface",
            client_encoding="UTF8",
            connect_timeout=math.ceil(_CONNECT_TIMEOUT),
            prepare_threshold=None,  # a pooler may be in between
        )
    except psycopg.OperationalError as error:
        found = connection_error(error)
        raise type(found)(str(found).replace("PGFACE_DATABASE_URL", "the URL of CompreFace's database")) from error
    except psycopg.ProgrammingError:
        # The message of libpq repeats parts of the URL, which may contain a password.
        raise MigrationError(
            "The URL of CompreFace's database cannot be read. Give one such as postgresql://user@host/frs."
        ) from None
    with connection:
        connection.read_only = True
        yield _ReadOnlySource(connection, "public")


class _ReadOnlySource(Source):
    """A source whose server refuses writes, whatever its tables are: a view could call a function that writes."""

    def _read(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        with wrap_psycopg_errors(), self._connection.transaction():
            return super()._read(statement, **values)
