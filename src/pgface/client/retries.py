"""When a call is sent again, and after how long.

A request that did not reach the service is always sent again. Otherwise only a call that changes nothing, or that has
an idempotency key, is sent again: after a lost connection, and after a status that says to try later. If the first
request of a call is still running, the client waits for its end.
"""

from __future__ import annotations

import random
import ssl
import time
from typing import Any, Final

import httpx

from pgface.client.calls import Call
from pgface.client.errors import ClientError, ProblemError, ResponseError, UnreachableError

MAX_RETRY_AFTER: Final = 60.0
"""Seconds. If the service asks for a longer wait, the error is raised at once."""
_FIRST_DELAY: Final = 0.5
"""Seconds before the second attempt. Every further delay is twice as long."""
_MAX_DELAY: Final = 8.0
_MAX_DOUBLINGS: Final = 10
"""After hours of attempts, a larger exponent would be too large for a float."""
_TRY_LATER: Final = frozenset({429, 502, 503, 504})
_TOO_SLOW: Final = "work-timeout"
"""The code of a response if a photo took too long. The same photo would probably take too long again."""
_STILL_RUNNING: Final = "request-repeated"
"""The code of a response if the first request with the same idempotency key is still running."""
_MAX_RUNNING: Final = 90.0
"""Seconds to wait for that request. After a crash, the service counts it as failed after 60 seconds."""


class Attempts:
    """The attempts to send a call.

    Args:
        call: the call.
        retries: the maximum number of further attempts.
        max_outage: seconds within which further attempts are not counted.

    """

    def __init__(self, call: Call[Any], retries: int, max_outage: float = 0) -> None:
        self._call = call
        self._retries = retries
        self._max_outage = max_outage
        self._made = 0
        self._started = time.monotonic()

    def delay_after(self, failure: ClientError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            ClientError: the failure, because there must not be another attempt.

        """
        self._made += 1
        asked = failure.retry_after if isinstance(failure, ResponseError) else None
        if not self._may_go_on(failure) or (asked is not None and asked > max(MAX_RETRY_AFTER, self._left)):
            raise failure
        delay = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** min(self._made - 1, _MAX_DOUBLINGS))
        # Clients that failed together must not come back together.
        jittered = delay * random.uniform(0.5, 1)  # noqa: S311 - no secret
        return jittered if asked is None else max(asked, delay / 2) + jittered / 2

    def _may_go_on(self, failure: ClientError) -> bool:
        if self._retries > 0 and isinstance(failure, ProblemError) and failure.code == _STILL_RUNNING:
            return time.monotonic() - self._started < _MAX_RUNNING
        return (self._made <= self._retries or self._left > 0) and _may_repeat(self._call, failure)

    @property
    def _left(self) -> float:
        """Seconds until further attempts are counted."""
        return self._started + self._max_outage - time.monotonic()


def unreachable(error: httpx.RequestError, url: str) -> UnreachableError:
    """Make the error for a request without a response. The cause is left out, because it has the request's key."""
    sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)
    wrong_certificate = _is_caused_by(error, ssl.SSLError)
    reason = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        reason = "the time limit of the client was reached"
    elif sent and isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        reason = "the connection was lost"
    return UnreachableError(
        f"{url} did not respond: {reason}. Check that the service runs, and that its URL is right.",
        sent=sent,
        temporary=not wrong_certificate
        and (not sent or isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)),
    )


def _may_repeat(call: Call[Any], failure: ClientError) -> bool:
    if isinstance(failure, UnreachableError):
        return failure.temporary and (call.repeatable or not failure.sent)
    if isinstance(failure, ProblemError) and failure.code == _TOO_SLOW:
        return False
    return isinstance(failure, ResponseError) and failure.status in _TRY_LATER and call.repeatable


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
