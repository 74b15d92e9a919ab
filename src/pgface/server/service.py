"""The objects that all requests of a process share: the gallery, the accounts, and the limits of concurrent work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Annotated, Final, ParamSpec, TypeVar

from fastapi import Depends, Request

from pgface.accounts import Accounts, Client, FaceLogin
from pgface.accounts.devices import devices_in
from pgface.accounts.liveness_sessions import LivenessSessions
from pgface.accounts.tokens import token_hash
from pgface.database.replica_lag import any_lag
from pgface.errors import DatabaseUnreachableError
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.server import metrics
from pgface.server.body_budget import BodyBudget
from pgface.server.event_watcher import EventWatcher
from pgface.server.work_queue import Requester, WorkQueue
from pgface.settings import Settings
from pgface.system.resources import usable_cores

_MAX_WAITING_PASSWORDS: Final = 64
"""Hashing this many takes some seconds."""
_QUERY_THREADS: Final = 40
"""The maximum of concurrent queries outside of the work queues. More of them wait for a thread."""

_LATE_QUERY_SECONDS: Final = 10.0
"""Seconds after PGFACE_WORK_TIMEOUT in which a query may still end."""

COOKIE: Final = "__Host-pgface"
"""Browsers accept a cookie with this prefix only over HTTPS or from localhost, and send it only to this host."""
DEVICE_COOKIE: Final = "__Host-pgface-device"
"""The cookie of a browser that a user has logged in with. It gives no access."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that the requests of one process share."""

    gallery: Gallery
    accounts: Accounts
    face_login: FaceLogin
    liveness: LivenessSessions
    inference: WorkQueue
    """Runs work that needs the model."""
    hashing: WorkQueue
    """Runs work that hashes a password, which is slow by design."""
    body_budget: BodyBudget
    anonymous_body_budget: BodyBudget
    """Separate from `body_budget`, so that clients without an account cannot use up the bytes of those with one."""
    queries: ThreadPoolExecutor
    """Runs work that only queries PostgreSQL."""
    timezone: tzinfo
    """The time zone of timestamps that have none, such as those of the specification's columns."""
    galleries: Galleries
    """The registry of the other galleries."""
    home: Service | None = None
    """The service of the default gallery. None for that one itself."""
    is_known: bool = True
    """Whether the caller named a gallery that exists. If not, `gallery` is an empty one."""
    event_watcher: EventWatcher = field(default_factory=EventWatcher)
    """Wakes requests that wait for an event."""

    @classmethod
    def create(cls, gallery: Gallery) -> Service:
        """Create a service for an open gallery."""
        settings = gallery.settings
        with any_lag(), gallery.database.transaction() as connection:
            timezone = connection.info.timezone
        accounts = Accounts(gallery)
        anonymous_bytes = settings.max_request_bytes_in_flight // 4
        return cls(
            gallery,
            accounts,
            FaceLogin(gallery, accounts),
            LivenessSessions(gallery),
            WorkQueue(
                # One more than the cores, because each photo waits in between for PostgreSQL and the event loop. On two
                # cores, that gave 1.08 times the photos per second.
                settings.workers + (1 if settings.workers > 1 else 0),
                settings.queue_size,
                waiting=metrics.waiting,
                working=metrics.working,
                extra=settings.workers,
                seconds=settings.work_timeout,
                max_pixels=settings.max_upload_pixels,
            ),
            WorkQueue(
                usable_cores(),
                _MAX_WAITING_PASSWORDS,
                waiting=metrics.passwords_waiting,
                working=metrics.passwords_working,
            ),
            BodyBudget(settings.max_request_bytes_in_flight - anonymous_bytes),
            BodyBudget(anonymous_bytes),
            ThreadPoolExecutor(_QUERY_THREADS, thread_name_prefix="pgface-query"),
            timezone,
            Galleries(gallery),
        )

    def for_gallery(self, gallery: Gallery, *, is_known: bool) -> Service:
        """Return the service of another gallery, with the queues and limits of this one."""
        with gallery.database.transaction() as connection:
            timezone = connection.info.timezone
        accounts = Accounts(gallery)
        return replace(
            self,
            gallery=gallery,
            accounts=accounts,
            face_login=FaceLogin(gallery, accounts),
            liveness=LivenessSessions(gallery),
            timezone=timezone,
            home=self,
            is_known=is_known,
        )

    @property
    def settings(self) -> Settings:
        """The settings of the gallery and the service."""
        return self.gallery.settings

    async def run_db(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run work that queries PostgreSQL in a thread. The event loop must not wait for it.

        Raises:
            DatabaseUnreachableError: it takes too long. It may still be done later, for example if a commit waits for
                a standby.

        """
        try:
            return await asyncio.wait_for(
                self.run_long_db(work, *args, **kwargs), self.settings.work_timeout + _LATE_QUERY_SECONDS
            )
        except TimeoutError:
            raise DatabaseUnreachableError("PostgreSQL does not answer in time.") from None

    def run_long_db(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Run such work for which no client waits, without a time limit."""
        # A thread of anyio, which Starlette uses, costs three times the processor time.
        run = partial(copy_context().run, work, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self.queries, run)

    def close(self) -> None:
        """Stop running work."""
        self.inference.close()
        self.hashing.close()
        self.queries.shutdown(wait=False)
        self.galleries.close()

    def as_utc(self, value: datetime) -> datetime:
        """Convert a timestamp of the database to UTC."""
        return (value if value.tzinfo else value.replace(tzinfo=self.timezone)).astimezone(UTC)


def service_of(request: Request) -> Service:
    """Return the service of the gallery that this request is for."""
    service: Service = request.scope.get("pgface.service") or request.app.state.service
    return service


def cookie_of(request: Request, name: str = COOKIE) -> str:
    """Return the name of a cookie in the gallery of this request.

    Each gallery has its own cookies, so that a browser can be logged in to several. The names are made from the name in
    the path, so they do not say whether the gallery exists.
    """
    gallery = request.scope.get("pgface.gallery")
    return name if gallery is None else f"{name}-{token_hash(gallery)[:16]}"


def requester_of(request: Request) -> Requester:
    """Return the requester of a request, for fair shares: the API key, or else the network, but not the account.

    A client can register any number of accounts, and programs share the network of a data centre.
    """

    def name() -> str:
        caller = getattr(request.state, "caller", None)
        if caller is not None and "key " in caller.name:
            # Keys of two galleries may have the same number.
            return f"{caller.name} of {request.scope.get('pgface.gallery')}"
        client = client_of(request)
        networks = client.networks
        return networks[-1] if networks else client.actor or ""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return Requester(name, disconnected)


def client_of(request: Request) -> Client:
    """Return the address that a request comes from, as a trusted proxy reports it, and the caller."""
    caller = getattr(request.state, "caller", None)
    return Client(
        address=request.client.host if request.client else None,
        actor=caller.name if caller else None,
        authority=token_hash(caller.secret) if caller else None,
        devices=devices_in(request.cookies.get(cookie_of(request, DEVICE_COOKIE))),
    )


# FastAPI calls a dependency that is not a coroutine in a thread.
async def get_service(request: Request) -> Service:
    """Return the same as `service_of`, as a dependency."""
    return service_of(request)


async def get_client(request: Request) -> Client:
    """Return the same as `client_of`, as a dependency."""
    return client_of(request)


ServiceDep = Annotated[Service, Depends(get_service)]
ClientDep = Annotated[Client, Depends(get_client)]
