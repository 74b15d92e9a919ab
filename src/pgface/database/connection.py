"""A connection to a gallery, also behind a pooler that gives every transaction another server process.

A session's settings, prepared statements and locks belong to one server process. Behind a transaction pooler (pgbouncer
with `pool_mode = transaction`), the next statement may reach another process, which has none of them, or those of
another client. So each transaction there sets the search path again, and nothing is prepared.

Each transaction also sets the time zone. The specification's times (`auth_tokens.expires_at`) have no zone, and must be
read in the zone in which they were written. That is the server's zone, whatever PGTZ, PGOPTIONS or a role says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Self, TypeVar

import psycopg
from pgvector.psycopg import register_vector
from psycopg import Connection
from psycopg.abc import Buffer, PQGen
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import TimestampBinaryLoader, TimestampLoader

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.session import set_up_session, settings_statements
from pgface.database.sql import queries
from pgface.errors import DatabaseAccessError, SchemaMissingError
from pgface.system.forks import renew_after_fork

Pooling = Literal["auto", "session", "transaction"]
T = TypeVar("T")

MAX_SCHEMAS = 100
"""Galleries that a pooled connection serves. Its server process keeps up to 0.3 MiB of caches and plans of each."""


class GalleryConnection(Connection[Any]):
    """A connection to a gallery's database, in autocommit mode. Call `enter` before you use it.

    In a forked child process, the parent's connections are closed.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._schemas: set[str] = set()
        self.opened_at = time.monotonic()
        renew_after_fork(self)

    @classmethod
    def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, find_server: Callable[[], str] | None = None, **options: Any
    ) -> Self:
        """Connect, with `find_server` to the server whose URL it returns at that moment."""
        return super().connect(find_server() if find_server else conninfo, **options)

    def after_fork(self) -> None:
        """Disconnect the socket, so that this process cannot disturb the parent's session."""
        with suppress(psycopg.Error), open(os.devnull, "r+b") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())

    answer_within: float | None = None
    """Seconds in which the server has to answer each command. None without a limit. After an error, close this."""

    def wait(self, gen: PQGen[T], *arguments: Any, **options: Any) -> T:
        """Wait for the answer to a command. After Ctrl-C, the connection may be closed."""
        limited = gen if self.answer_within is None else _limited(gen, self.answer_within)
        try:
            return super().wait(limited, *arguments, **options)
        except KeyboardInterrupt:
            # psycopg has cancelled the command. But if the interrupt arrived inside `gen`, the answer is not read, and
            # libpq refuses every further command, also those that clean up.
            if self.info.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    settings_of_transaction: bytes | None = None
    """The statements at the start of each transaction, quoted by PostgreSQL. None if the session keeps settings."""

    @property
    def has_session(self) -> bool:
        """Whether settings and locks last from one transaction to the next."""
        return self.settings_of_transaction is None

    @property
    def is_replica(self) -> bool:
        """Whether the server was a replica when it last said so. PostgreSQL says so with each change."""
        return self.info.parameter_status("in_hot_standby") == "on"

    @cached_property
    def reading_cursor(self) -> Any:
        """The cursor of all reads, because a new cursor takes a noticeable part of a short query's time."""
        return self.cursor(binary=True)

    @contextmanager
    def gallery_transaction(self) -> Iterator[None]:
        """Open a transaction in which names lead to the gallery, in any server process."""
        with self.transaction():
            if self.settings_of_transaction is not None:
                # SET and not SELECT set_config(): after a query, the isolation level could not be changed.
                self.execute(self.settings_of_transaction)
            yield

    schema_name: str | None = None
    """The schema that unqualified names lead to."""
    _pooled = False
    _knows_vectors = False

    def enter(self, schema_name: str, pooling: Pooling) -> None:
        """Set up the session, and make unqualified names lead to the gallery's schema and then to pgvector's.

        Raises:
            SchemaMissingError: there is no such schema, or no pgvector.
            DatabaseAccessError: this user may not use the schema.

        """
        self.set_up(pooling)
        self.switch(schema_name)

    def set_up(self, pooling: Pooling) -> None:
        """Set up the session. `switch` then enters a gallery."""
        with wrap_psycopg_errors():
            self._pooled = self.is_pooled(pooling)
            self.prepare_threshold = None if self._pooled else 0
            if not self._pooled:
                set_up_session(self)

    def switch(self, schema_name: str) -> None:
        """Make unqualified names lead to a gallery's schema. Nothing is sent if they already do.

        Raises:
            SchemaMissingError, DatabaseAccessError: as for `enter`.

        """
        if self.schema_name == schema_name:
            return
        self.schema_name = None
        with wrap_psycopg_errors():
            self._require_schema(schema_name)
            with self.transaction() if self._pooled else nullcontext():
                values = {"schema": schema_name, "for_transaction": self._pooled}
                path_and_zone = self.execute(queries()["enter_gallery"], values).fetchone()
                if path_and_zone is None:
                    raise SchemaMissingError
                self._read_times_in_server_zone()
            if self._pooled:
                path, zone = path_and_zone
                names = f"; SET LOCAL search_path = {path}; SET LOCAL TimeZone = {zone}".encode()
                self.settings_of_transaction = settings_statements(self, local=True) + names
        self.schema_name = schema_name
        self._schemas.add(schema_name)
        if len(self._schemas) > MAX_SCHEMAS and not self._pooled:
            # The pool closes a connection that is returned after this time, and opens another one.
            self._expire_at = 0.0

    def require_same_schema(self) -> None:
        """Check that the gallery's schema still exists.

        After another session has dropped it, names lead to the next schema of the search path, and to the data of
        another gallery. So what was read before this check is used only after it.

        Raises:
            SchemaMissingError: the gallery was deleted.

        """
        if self.execute("SELECT current_schema()::text").fetchone() != (self.schema_name,):
            self.schema_name = None
            raise SchemaMissingError("This gallery was deleted.")

    def _require_schema(self, schema_name: str) -> None:
        usable = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s"
        found = self.execute(usable, (schema_name,)).fetchone()
        if found is None:
            # PostgreSQL skips a schema that does not exist, and would find the next gallery on the path.
            raise SchemaMissingError(f"There is no schema {schema_name} in this database. Run `pgface init`.")
        if found != (True,):
            raise DatabaseAccessError(
                f"This PostgreSQL user may not use the schema {schema_name}. "
                "Ask its owner to run GRANT USAGE ON SCHEMA."
            )

    def _read_times_in_server_zone(self) -> None:
        """Load times without a zone as times in the server's zone."""
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
        # PostgreSQL sends every client the number of its process. A pooler sends another number.
        return pooling == "transaction" or (pooling == "auto" and row != (self.info.backend_pid,))

    def register_vectors(self) -> None:
        """Send and receive pgvector's types in binary form. Call it after `enter`, which sets the search path."""
        if not self._knows_vectors:
            with wrap_psycopg_errors(), nullcontext() if self.has_session else self.gallery_transaction():
                register_vector(self)
            self._knows_vectors = True


def _limited(answer: PQGen[T], seconds: float) -> PQGen[T]:
    """Wait for an answer as psycopg does, but not longer than this."""
    ends = time.monotonic() + seconds
    try:
        state = next(answer)
        while True:
            ready = yield state
            if not ready and time.monotonic() > ends:
                raise psycopg.OperationalError("the server does not answer in time")
            state = answer.send(ready)
    except StopIteration as ended:
        found: T = ended.value
        return found
