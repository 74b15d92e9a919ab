"""The clients of the web service: `Client`, and `AsyncClient` for asynchronous programs."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, Self, TypeVar

import anyio
import anyio.to_thread
import httpcore
import httpx

from pgface.client import operations
from pgface.client.calls import API, Call, path_of_gallery
from pgface.client.errors import ClientError, error_of
from pgface.client.methods import async_iterating, awaitable, blocking, iterating
from pgface.client.models import Event
from pgface.client.retries import Attempts, unreachable

TIMEOUT: Final = 60.0
"""Seconds to wait for a response. The service itself stops work on a photo after 30 seconds, unless it is configured
otherwise."""
RETRIES: Final = 4
FOLLOWING_WAIT: Final = 25.0
"""Seconds for which the service waits for the next event in one request."""
MAX_OUTAGE: Final = 300.0
"""Seconds for which `follow_events` goes on without a response, for example while the service starts again."""
_CONNECT_TIMEOUT: Final = 10.0
_LARGE_BODY: Final = 2**20
"""Bytes. The service may refuse a larger body while it is being sent."""
_REFUSAL_TIMEOUT: Final = 2.0
"""Seconds in which the service refuses a body that is too large. It needs only the head of the request for that."""
_KEEPALIVE_SECONDS: Final = 4.0
"""The service closes idle connections after 5 seconds. A request on a connection that is being closed would fail."""
_USER_AGENT: Final = f"pgface-client/{version('pgface')}"
_USABLE_KEY: Final = re.compile(r"[\x21-\x7e]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where the calls of a client go, and with which key."""

    url: str
    key: str | None = field(repr=False)
    gallery: str | None

    def __post_init__(self) -> None:
        if not _is_usable(self.url):
            raise ClientError("The URL of the service must be like https://faces.example.org, without a password.")
        if self.key is not None and not _USABLE_KEY.fullmatch(self.key):
            raise ClientError("This is not a key or a token of pgface. Check that you read the right file.")
        if self.gallery is not None:
            path_of_gallery(self.gallery)

    def changed(self, key: str | None, gallery: str | None) -> _Destination:
        """Return the same service with another key or gallery."""
        return _Destination(self.url, self.key if key is None else key, self.gallery if gallery is None else gallery)

    def arguments(self, call: Call[Any]) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.request` for a call."""
        found = call.arguments()
        gallery = API if self.gallery is None else path_of_gallery(self.gallery)
        found["url"] = f"{self.url}{gallery if call.of_gallery else ''}{call.path}"
        found["headers"]["User-Agent"] = _USER_AGENT
        if self.key is not None:
            found["headers"]["Authorization"] = f"Bearer {self.key}"
        return found


class _BaseClient:
    """What both clients share."""

    def __init__(self, destination: _Destination, retries: int) -> None:
        self._destination = destination
        self._retries = retries

    def __repr__(self) -> str:
        gallery = f", gallery={self._destination.gallery!r}" if self._destination.gallery is not None else ""
        return f"{type(self).__name__}({self._destination.url!r}{gallery})"

    @property
    def url(self) -> str:
        """The URL of the service."""
        return self._destination.url

    @property
    def gallery(self) -> str | None:
        """The name of the gallery. None for the service's default gallery."""
        return self._destination.gallery


class Client(_BaseClient):
    """A client of the web service. All threads of a process can share it.

    Every operation of the service is a method with the operation's name. A call that changes nothing, and a call that
    creates something, is sent again if the service cannot be reached or is busy.

    Args:
        url: the URL of the service, such as `https://faces.example.org`.
        key: an API key, or the token of a login.
        gallery: the name of a gallery. By default the service's default gallery.
        timeout: seconds to wait for a response.
        retries: the maximum number of further attempts for a call.
        http: your own client of httpx, for example with a proxy or certificates. It keeps its own time limits, and you
            close it.

    Raises:
        ClientError: the URL, the key or the name of the gallery cannot be used.

    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        gallery: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        super().__init__(_Destination(url.rstrip("/"), key, gallery), retries)
        self._own = http is None
        self._http = http or httpx.Client(timeout=_timeouts(timeout), limits=_limits())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def using(self, *, key: str | None = None, gallery: str | None = None) -> Client:
        """Return a client with another key or another gallery, which shares the connections of this client."""
        to = self._destination.changed(key, gallery)
        return Client(to.url, to.key, gallery=to.gallery, retries=self._retries, http=self._http)

    def follow_events(
        self,
        after: str | None = None,
        *,
        kind: Sequence[str] = (),
        wait: float = FOLLOWING_WAIT,
        max_outage: float = MAX_OUTAGE,
    ) -> Iterator[Event]:
        """Iterate over events without an end: the events after a cursor, then each new one when it happens.

        Keep the `cursor` of the last event that your program has processed. After a restart, give it as `after`.

        Args:
            after: the cursor of an event. By default the oldest events. `end` stands for the newest one.
            kind: only events of these kinds, such as `enrolled`.
            wait: seconds for which the service waits for the next event in one request, 0 to 30.
            max_outage: seconds to go on if the service no longer responds or is busy. Then the error is raised.

        """
        page = self.send(operations.list_events(after, kind=kind))
        while True:
            yield from page.items
            page = self._send(operations.list_events(page.next_cursor, kind=kind, wait=wait), max_outage)

    def send(self, call: Call[T], /) -> T:
        """Send a call, also again if it may be, and return what was read from its response."""
        return self._send(call)

    def _send(self, call: Call[T], max_outage: float = 0) -> T:
        arguments = self._destination.arguments(call)
        arguments |= _time_limit(call, self._http.timeout)
        attempts = Attempts(call, self._retries, max_outage)
        while True:
            try:
                response = self._http.request(**arguments)
            except httpx.RequestError as error:
                failure: ClientError = unreachable(error, self.url)
            else:
                if response.status_code in call.statuses:
                    return call.read(response)
                failure = error_of(response)
            time.sleep(attempts.delay_after(failure))

    list_users = blocking(operations.list_users)
    create_user = blocking(operations.create_user)
    get_user = blocking(operations.get_user)
    update_user = blocking(operations.update_user)
    delete_user = blocking(operations.delete_user)
    list_photos = blocking(operations.list_photos)
    enroll_photo = blocking(operations.enroll_photo)
    enroll_photo_by_email = blocking(operations.enroll_photo_by_email)
    get_crop = blocking(operations.get_crop)
    delete_photo = blocking(operations.delete_photo)
    identify = blocking(operations.identify)
    verify = blocking(operations.verify)
    compare = blocking(operations.compare)
    detect = blocking(operations.detect)
    register = blocking(operations.register)
    log_in = blocking(operations.log_in)
    create_challenge = blocking(operations.create_challenge)
    get_hint = blocking(operations.get_hint)
    log_in_by_face = blocking(operations.log_in_by_face)
    answer_liveness_session = blocking(operations.answer_liveness_session)
    get_liveness_hint = blocking(operations.get_liveness_hint)
    log_out = blocking(operations.log_out)
    get_me = blocking(operations.get_me)
    delete_me = blocking(operations.delete_me)
    change_password = blocking(operations.change_password)
    list_logins = blocking(operations.list_logins)
    end_logins = blocking(operations.end_logins)
    end_login = blocking(operations.end_login)
    introspect = blocking(operations.introspect)
    list_events = blocking(operations.list_events)
    create_job = blocking(operations.create_job)
    list_jobs = blocking(operations.list_jobs)
    get_job = blocking(operations.get_job)
    list_job_results = blocking(operations.list_job_results)
    cancel_job = blocking(operations.cancel_job)
    get_status = blocking(operations.get_status)
    list_api_keys = blocking(operations.list_api_keys)
    create_api_key = blocking(operations.create_api_key)
    revoke_api_key = blocking(operations.revoke_api_key)
    list_audit = blocking(operations.list_audit)
    list_galleries = blocking(operations.list_galleries)
    create_gallery = blocking(operations.create_gallery)
    get_gallery = blocking(operations.get_gallery)
    rename_gallery = blocking(operations.rename_gallery)
    delete_gallery = blocking(operations.delete_gallery)
    healthz = blocking(operations.healthz)
    readyz = blocking(operations.readyz)
    get_metrics = blocking(operations.get_metrics)
    iter_users = iterating(operations.list_users)
    iter_photos = iterating(operations.list_photos)
    iter_audit = iterating(operations.list_audit)
    iter_jobs = iterating(operations.list_jobs)
    iter_job_results = iterating(operations.list_job_results)


class _NoBody(httpx.AsyncByteStream):
    """A body that is not sent, although the head has its length."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise httpcore.WriteError  # after it, httpcore reads the response


class AsyncClient(_BaseClient):
    """A client of the web service for asynchronous programs, with asyncio or trio.

    It has the same methods as `Client`, as coroutines, and the same arguments. `http` is an `httpx.AsyncClient`.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        gallery: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(_Destination(url.rstrip("/"), key, gallery), retries)
        self._own = http is None
        self._http = http or httpx.AsyncClient(timeout=_timeouts(timeout), limits=_limits())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    def using(self, *, key: str | None = None, gallery: str | None = None) -> AsyncClient:
        """Return a client with another key or another gallery, which shares the connections of this client."""
        to = self._destination.changed(key, gallery)
        return AsyncClient(to.url, to.key, gallery=to.gallery, retries=self._retries, http=self._http)

    async def follow_events(
        self,
        after: str | None = None,
        *,
        kind: Sequence[str] = (),
        wait: float = FOLLOWING_WAIT,
        max_outage: float = MAX_OUTAGE,
    ) -> AsyncIterator[Event]:
        """Iterate over events without an end, as `Client.follow_events`."""
        page = await self.send(operations.list_events(after, kind=kind))
        while True:
            for event in page.items:
                yield event
            page = await self._send(operations.list_events(page.next_cursor, kind=kind, wait=wait), max_outage)

    async def send(self, call: Call[T], /) -> T:
        """Send a call, also again if it may be, and return what was read from its response."""
        return await self._send(call)

    async def _send(self, call: Call[T], max_outage: float = 0) -> T:
        if call.photos:  # reading a file would block the event loop
            arguments = await anyio.to_thread.run_sync(self._destination.arguments, call)
        else:
            arguments = self._destination.arguments(call)
        arguments |= _time_limit(call, self._http.timeout)
        attempts = Attempts(call, self._retries, max_outage)
        while True:
            try:
                response = await self._http.request(**arguments)
            except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError) as error:
                failure: ClientError = await self._refusal(arguments) or unreachable(error, self.url)
            except httpx.RequestError as error:
                failure = unreachable(error, self.url)
            else:
                if response.status_code in call.statuses:
                    return call.read(response)
                failure = error_of(response)
            await anyio.sleep(attempts.delay_after(failure))

    async def _refusal(self, arguments: dict[str, Any]) -> ClientError | None:
        """Ask whether the service refuses the body of a request whose connection was lost.

        The service refuses a body that is too large while it arrives, and closes the connection. Then asyncio discards
        the response with the connection. So this sends the head of the request alone.
        """
        request = self._http.build_request(**arguments)
        if int(request.headers.get("Content-Length", 0)) < _LARGE_BODY:
            return None
        request.stream = _NoBody()
        request.extensions["timeout"] = httpx.Timeout(_REFUSAL_TIMEOUT).as_dict()
        try:
            response = await self._http.send(request)
        except (httpx.RequestError, httpcore.WriteError):  # the second one if your transport is not httpcore's
            return None
        return error_of(response) if response.is_client_error else None

    list_users = awaitable(operations.list_users)
    create_user = awaitable(operations.create_user)
    get_user = awaitable(operations.get_user)
    update_user = awaitable(operations.update_user)
    delete_user = awaitable(operations.delete_user)
    list_photos = awaitable(operations.list_photos)
    enroll_photo = awaitable(operations.enroll_photo)
    enroll_photo_by_email = awaitable(operations.enroll_photo_by_email)
    get_crop = awaitable(operations.get_crop)
    delete_photo = awaitable(operations.delete_photo)
    identify = awaitable(operations.identify)
    verify = awaitable(operations.verify)
    compare = awaitable(operations.compare)
    detect = awaitable(operations.detect)
    register = awaitable(operations.register)
    log_in = awaitable(operations.log_in)
    create_challenge = awaitable(operations.create_challenge)
    get_hint = awaitable(operations.get_hint)
    log_in_by_face = awaitable(operations.log_in_by_face)
    answer_liveness_session = awaitable(operations.answer_liveness_session)
    get_liveness_hint = awaitable(operations.get_liveness_hint)
    log_out = awaitable(operations.log_out)
    get_me = awaitable(operations.get_me)
    delete_me = awaitable(operations.delete_me)
    change_password = awaitable(operations.change_password)
    list_logins = awaitable(operations.list_logins)
    end_logins = awaitable(operations.end_logins)
    end_login = awaitable(operations.end_login)
    introspect = awaitable(operations.introspect)
    list_events = awaitable(operations.list_events)
    create_job = awaitable(operations.create_job)
    list_jobs = awaitable(operations.list_jobs)
    get_job = awaitable(operations.get_job)
    list_job_results = awaitable(operations.list_job_results)
    cancel_job = awaitable(operations.cancel_job)
    get_status = awaitable(operations.get_status)
    list_api_keys = awaitable(operations.list_api_keys)
    create_api_key = awaitable(operations.create_api_key)
    revoke_api_key = awaitable(operations.revoke_api_key)
    list_audit = awaitable(operations.list_audit)
    list_galleries = awaitable(operations.list_galleries)
    create_gallery = awaitable(operations.create_gallery)
    get_gallery = awaitable(operations.get_gallery)
    rename_gallery = awaitable(operations.rename_gallery)
    delete_gallery = awaitable(operations.delete_gallery)
    healthz = awaitable(operations.healthz)
    readyz = awaitable(operations.readyz)
    get_metrics = awaitable(operations.get_metrics)
    iter_users = async_iterating(operations.list_users)
    iter_photos = async_iterating(operations.list_photos)
    iter_audit = async_iterating(operations.list_audit)
    iter_jobs = async_iterating(operations.list_jobs)
    iter_job_results = async_iterating(operations.list_job_results)


def _is_usable(url: str) -> bool:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.host) and not (parts.userinfo or parts.query or parts.fragment)
    )


def _time_limit(call: Call[Any], usual: httpx.Timeout) -> dict[str, httpx.Timeout]:
    """Return the time limits of a call for which the service may wait. The usual ones begin after its wait."""
    if not call.waits or usual.read is None:
        return {}
    longer = httpx.Timeout(connect=usual.connect, read=usual.read + call.waits, write=usual.write, pool=usual.pool)
    return {"timeout": longer}


def _timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT))


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=_KEEPALIVE_SECONDS)
