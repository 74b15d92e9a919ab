"""What every request uses: the gallery, accounts, and what bounds the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final, ParamSpec, TypeVar

from fastapi import Depends, Request
from psycopg.rows import tuple_row
from starlette.concurrency import run_in_threadpool

from pgface.accounts import Accounts, Client, FaceLogin
from pgface.accounts.devices import devices_in
from pgface.accounts.tokens import token_hash
from pgface.database.migrate import require_current
from pgface.gallery import Gallery
from pgface.server import metrics
from pgface.server.limits import Asker, BodyBudget, WorkPool
from pgface.settings import Settings
from pgface.system.resources import usable_cores

_MOST_PASSWORDS_WAITING: Final = 64
"""Some seconds of work."""

DEVICE_COOKIE: Final = "__Host-pgface-device"
"""The cookie of a browser that a user has logged in with. It opens nothing."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the service."""

    gallery: Gallery
    accounts: Accounts
    face_login: FaceLogin
    inference: WorkPool
    hashing: WorkPool
    bodies: BodyBudget
    bodies_of_strangers: BodyBudget
    """A part by itself, so that whoever has no account cannot keep out those who have one."""
    timezone: tzinfo
    """Of the server's timestamps that have none, as the specification's columns."""

    @classmethod
    def of(cls, gallery: Gallery) -> Service:
        """A service over a gallery that is open."""
        settings = gallery.settings
        with gallery.database.transaction() as connection:
            timezone = connection.info.timezone
        of_strangers = settings.max_request_bytes_in_flight // 4
        return cls(
            gallery,
            Accounts(gallery),
            FaceLogin(gallery),
            WorkPool(
                settings.workers,
                settings.queue_size,
                waiting=metrics.waiting,
                working=metrics.working,
                extra=settings.workers,
                seconds=settings.work_timeout,
                max_pixels=settings.max_upload_pixels,
            ),
            WorkPool(
                usable_cores(),
                _MOST_PASSWORDS_WAITING,
                waiting=metrics.passwords_waiting,
                working=metrics.passwords_working,
            ),
            BodyBudget(settings.max_request_bytes_in_flight - of_strangers),
            BodyBudget(of_strangers),
            timezone,
        )

    @property
    def settings(self) -> Settings:
        """Of the gallery and the service."""
        return self.gallery.settings

    async def infer(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what needs the model, within PGFACE_WORK_TIMEOUT and only for as long as the client waits.

        Code that takes long ends where it calls `pgface.faces.cancellation.check_work`.

        Raises:
            ServiceBusyError: there is too much to do.
            WorkTimeoutError: it was not done in time.
            WorkCancelledError: the client has gone.

        """
        return await self.inference.run(work, *args, **kwargs)

    async def hash(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what hashes a password, which takes long on purpose; not in the threads that every request needs.

        Raises:
            ServiceBusyError: there is too much to do.

        """
        return await self.hashing.run(work, *args, **kwargs)

    async def ask(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what asks PostgreSQL, in a thread, because the event loop must not wait."""
        return await run_in_threadpool(work, *args, **kwargs)

    def close(self) -> None:
        """End what is in work."""
        self.inference.close()
        self.hashing.close()

    def require_current_schema(self) -> None:
        """See that the tables are as this version of pgface needs them.

        Raises:
            DatabaseError: they are not, or PostgreSQL does not answer.

        """
        with self.gallery.database.transaction() as connection:
            require_current(connection)

    def count_gallery(self) -> None:
        """Tell the metrics how large the gallery is."""
        ((users, embeddings),) = self.gallery.database.read("gallery_size", row_factory=tuple_row)
        metrics.users.set(users)
        metrics.embeddings.set(embeddings)

    def moment(self, value: datetime) -> datetime:
        """A time of the database, in UTC."""
        return (value if value.tzinfo else value.replace(tzinfo=self.timezone)).astimezone(UTC)


def service_of(request: Request) -> Service:
    """The service that answers this request."""
    service: Service = request.app.state.service
    return service


def asker_of(request: Request) -> Asker:
    """Who waits for the answer: a program by its key, and a person by the network, whatever account they name.

    People can register as often as they like, and programs share the network of a data centre.
    """

    def name() -> str:
        client = client_of(request)
        by_key = (client.actor or "").startswith("key ")
        networks = client.networks
        return client.actor or "" if by_key or not networks else networks[-1]

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return Asker(name, gone)


def client_of(request: Request) -> Client:
    """Where a request comes from; behind a trusted proxy, what that says."""
    caller = getattr(request.state, "caller", None)
    return Client(
        address=request.client.host if request.client else None,
        actor=caller.name if caller else None,
        authority=token_hash(caller.secret) if caller else None,
        devices=devices_in(request.cookies.get(DEVICE_COOKIE)),
    )


TheService = Annotated[Service, Depends(service_of)]
TheClient = Annotated[Client, Depends(client_of)]
