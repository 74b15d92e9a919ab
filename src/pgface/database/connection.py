"""A connection that finds its gallery, also where a pooler gives every transaction another server process.

A session's settings, prepared statements and locks belong to one server process. Behind a pooler of transactions
(pgbouncer with `pool_mode = transaction`) the next statement may reach another process, which has none of them or
those of another client. There each transaction sets the search path again, and nothing is prepared.

The same holds for the time zone. The specification's times (`auth_tokens.expires_at`) have no zone, so they must be
read in the zone in which they were written. That is the server's, whatever PGTZ, PGOPTIONS or a role's own setting say
here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import psycopg
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestampBinaryLoader, TimestampLoader

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.session import settings, settle
from pgface.database.sql import queries
from pgface.errors import DatabaseAccessError, SchemaMissingError
from pgface.system.forks import renew_after_fork

Pooling = Literal["auto", "session", "transaction"]


class GalleryConnection(Connection[Any]):
    """A connection to a gallery's database, in autocommit mode. `enter` leads it to the gallery's schema.

    A child process cannot use its parent's connection: in the child it is closed.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Disconnect the socket, so that nothing that this process does with it reaches the parent's session."""
        with suppress(psycopg.Error), open(os.devnull, "r+b") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())

    settings_of_transaction: bytes | None = None
    """The statements that each transaction begins with, quoted by PostgreSQL. None if the session keeps settings."""

    @property
    def has_session(self) -> bool:
        """Whether settings and locks last from one transaction to the next."""
        return self.settings_of_transaction is None

    @cached_property
    def reading_cursor(self) -> Any:
        """One cursor for all reads, because making a cursor takes a noticeable part of a short query's time."""
        return self.cursor(binary=True)

    @contextmanager
    def gallery_transaction(self) -> Iterator[None]:
        """Open a transaction in which names lead to the gallery, whichever server process runs it."""
        with self.transaction():
            if self.settings_of_transaction is not None:
                # Not a query such as set_config: the isolation level can still be chosen after this.
                self.execute(self.settings_of_transaction)
            yield

    def enter(self, schema_name: str, pooling: Pooling) -> None:
        """Set the session, and let unqualified names lead to the gallery's schema and then to pgvector's.

        Raises:
            SchemaMissingError: there is no such schema, or no pgvector.
            DatabaseAccessError: this user may not use the schema.

        """
        with wrap_psycopg_errors():
            row = self.execute(
                "SELECT to_regnamespace(quote_ident(%s)) IS NULL, pg_backend_pid()", (schema_name,)
            ).fetchone()
            missing, process = row or (True, 0)
            if missing:
                # PostgreSQL skips a schema that does not exist, and would find the next gallery on the path.
                raise SchemaMissingError(f"There is no schema {schema_name} in this database. Run `pgface init`.")
            # PostgreSQL tells every client the number of its process. A pooler has to tell a number of its own.
            pooled = pooling == "transaction" or (pooling == "auto" and process != self.info.backend_pid)
            self.prepare_threshold = None if pooled else 0
            if not pooled:
                settle(self)
            with self.transaction() if pooled else nullcontext():
                path_and_zone = self._set_path_and_zone(schema_name, for_transaction=pooled)
                self._know_times()
        self.settings_of_transaction = settings(self, local=True) + b"; " + path_and_zone if pooled else None

    def _know_times(self) -> None:
        """Give times without a zone the server's zone, which they are in."""
        zone = self.info.timezone

        class InZone(TimestampLoader):
            def load(self, data: Buffer) -> datetime:
                return super().load(data).replace(tzinfo=zone)

        class InZoneBinary(TimestampBinaryLoader):
            def load(self, data: Buffer) -> datetime:
                return super().load(data).replace(tzinfo=zone)

        for loader in (InZone, InZoneBinary):
            self.adapters.register_loader("timestamp", loader)

    def is_pooled(self, pooling: Pooling) -> bool:
        """Whether a pooler gives every transaction another server process."""
        row = self.execute("SELECT pg_backend_pid()").fetchone()
        # PostgreSQL tells every client the number of its process. A pooler has to tell a number of its own.
        return pooling == "transaction" or (pooling == "auto" and row != (self.info.backend_pid,))

    def register_vectors(self) -> None:
        """Send and receive pgvector's types in binary form. Call it after `enter`, which sets the search path."""
        with wrap_psycopg_errors(), nullcontext() if self.has_session else self.gallery_transaction():
            register_vector(self)

    def _set_path_and_zone(self, schema_name: str, *, for_transaction: bool) -> bytes:
        values = {"schema": schema_name, "for_transaction": for_transaction}
        row = self.execute(queries()["enter_gallery"], values).fetchone()
        if row is None:
            raise SchemaMissingError
        if self.execute("SELECT has_schema_privilege(%s, 'USAGE')", (schema_name,)).fetchone() != (True,):
            raise DatabaseAccessError(
                f"This PostgreSQL user may not use the schema {schema_name}. "
                "Ask its owner to run GRANT USAGE ON SCHEMA."
            )
        path, zone = row
        return f"SET LOCAL search_path = {path}; SET LOCAL TimeZone = {zone}".encode()
