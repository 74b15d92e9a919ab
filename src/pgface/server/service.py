"""What every request uses: the gallery, the accounts, and the limits of concurrent work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final, ParamSpec, TypeVar

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from pgface.accounts import Accounts, Client, FaceLogin
from pgface.accounts.devices import devices_in
from pgface.accounts.listings import gallery_size
from pgface.accounts.tokens import token_hash
from pgface.database.migrate import require_current
from pgface.gallery import Gallery
from pgface.server import metrics
from pgface.server.work_queue import BoundedExecutor, ByteBudget, Requester
from pgface.settings import Settings
from pgface.system.resources import usable_cores

_MAX_WAITING_PASSWORDS: Final = 64
"""Hashing this many takes some seconds."""

DEVICE_COOKIE: Final = "__Host-pgface-device"
"""The cookie of a browser that a user has logged in with. It gives no access."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Service:
    """What one process of the service shares between its requests."""

    gallery: Gallery
    accounts: Accounts
    face_login: FaceLogin
    inference: BoundedExecutor
    hashing: BoundedExecutor
    body_budget: ByteBudget
    anonymous_body_budget: ByteBudget
    """Separate from `body_budget`, so that callers without an account cannot use up the bytes of those who have one."""
    timezone: tzinfo
    """The time zone of timestamps that have none, such as those of the specification's columns."""

    @classmethod
    def create(cls, gallery: Gallery) -> Service:
        """A service over an open gallery."""
        settings = gallery.settings
        with gallery.database.transaction() as connection:
            timezone = connection.info.timezone
        accounts = Accounts(gallery)
        anonymous_bytes = settings.max_request_bytes_in_flight // 4
        return cls(
            gallery,
            accounts,
            FaceLogin(gallery, accounts),
            BoundedExecutor(
                settings.workers,
                settings.queue_size,
                waiting=metrics.waiting,
                working=metrics.working,
                extra=settings.workers,
                seconds=settings.work_timeout,
                max_pixels=settings.max_upload_pixels,
            ),
            BoundedExecutor(
                usable_cores(),
                _MAX_WAITING_PASSWORDS,
                waiting=metrics.passwords_waiting,
                working=metrics.passwords_working,
            ),
            ByteBudget(settings.max_request_bytes_in_flight - anonymous_bytes),
            ByteBudget(anonymous_bytes),
            timezone,
        )

    @property
    def settings(self) -> Settings:
        """The settings of the gallery and the service."""
        return self.gallery.settings

    async def run_inference(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that needs the model, within PGFACE_WORK_TIMEOUT and only for as long as the client waits.

        Long-running code ends where it calls `pgface.faces.cancellation.check_work`.

        Raises:
            ServiceBusyError: all workers are busy and the queue is full.
            WorkTimeoutError: the work took longer than PGFACE_WORK_TIMEOUT.
            WorkCancelledError: the client closed the connection.

        """
        return await self.inference.run(work, *args, **kwargs)

    async def run_hashing(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that hashes a password, in threads of its own. Hashing is slow by design.

        Raises:
            ServiceBusyError: all threads are busy and the queue is full.

        """
        return await self.hashing.run(work, *args, **kwargs)

    async def run_db(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that queries PostgreSQL in a thread, because the event loop must not wait."""
        return await run_in_threadpool(work, *args, **kwargs)

    def close(self) -> None:
        """Stop running work."""
        self.inference.close()
        self.hashing.close()

    def require_current_schema(self) -> None:
        """Check that the tables are those of this version of pgface.

        Raises:
            DatabaseError: they are not, or PostgreSQL does not answer.

        """
        with self.gallery.database.transaction() as connection:
            require_current(connection)

    def count_gallery(self) -> None:
        """Set the metrics of the gallery's size."""
        users, embeddings = gallery_size(self.gallery.database)
        metrics.users.set(users)
        metrics.embeddings.set(embeddings)

    def as_utc(self, value: datetime) -> datetime:
        """A timestamp of the database in UTC."""
        return (value if value.tzinfo else value.replace(tzinfo=self.timezone)).astimezone(UTC)


def service_of(request: Request) -> Service:
    """The service that answers this request."""
    service: Service = request.app.state.service
    return service


def requester_of(request: Request) -> Requester:
    """Who waits for the answer, for fair shares: an API key, or else the network, whatever account the request names.

    Users can register any number of accounts, and programs share the network of a data centre.
    """

    def name() -> str:
        client = client_of(request)
        by_key = (client.actor or "").startswith("key ")
        networks = client.networks
        return client.actor or "" if by_key or not networks else networks[-1]

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return Requester(name, disconnected)


def client_of(request: Request) -> Client:
    """Where a request comes from: the address, or what a trusted proxy says of it, and the caller."""
    caller = getattr(request.state, "caller", None)
    return Client(
        address=request.client.host if request.client else None,
        actor=caller.name if caller else None,
        authority=token_hash(caller.secret) if caller else None,
        devices=devices_in(request.cookies.get(DEVICE_COOKIE)),
    )


ServiceDep = Annotated[Service, Depends(service_of)]
ClientDep = Annotated[Client, Depends(client_of)]
