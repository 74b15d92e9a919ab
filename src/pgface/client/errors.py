"""Every error that a client of the web service raises, in one tree.

    PgfaceError
    └── ClientError
        ├── UnreachableError
        └── ResponseError
            ├── UnexpectedResponseError
            └── ProblemError
                ├── InvalidRequestError
                │   └── PhotoRefusedError
                ├── UnauthorizedError
                ├── ForbiddenError
                ├── NotFoundError
                ├── ConflictError
                ├── TooManyRequestsError
                └── ServiceFailedError

A photo that cannot be read on this machine is a `pgface.errors.PhotoNotReadableError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
from pydantic import TypeAdapter, ValidationError

from pgface.errors import PgfaceError

_PROBLEM: Final = "application/problem+json"
_PHOTO_CODES: Final = frozenset(
    ("photo", "photo-not-readable", "photo-too-large", "photo-format", "no-face", "several-faces", "low-quality")
)


class ClientError(PgfaceError):
    """The client could not do this. Check its arguments."""


class UnreachableError(ClientError):
    """No response arrived from the service. Check that it runs, and that its URL is right."""

    def __init__(self, message: str | None = None, *, sent: bool = True, temporary: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        """Whether the service may have received the request. If so, a change may have been made."""
        self.temporary = temporary
        """Whether it may work again soon. It does not after a time limit, or with a wrong certificate."""


class ResponseError(ClientError):
    """The service did not do what the request asked for. Read its response."""

    def __init__(self, message: str | None = None, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.retry_after = retry_after
        """Seconds to wait before the next attempt. None if the response does not say."""


class UnexpectedResponseError(ResponseError):
    """This is not a response of pgface. Check the URL, and any proxy in front of the service."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field of a request."""

    field: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """The description of an error in a response, as RFC 9457 defines it."""

    type: str
    """The page that describes the error."""
    title: str
    status: int
    detail: str
    """What happened, and what to do."""
    code: str
    """The error for programs. It does not change between versions. The HTTP reference lists all codes."""
    request_id: str | None = None
    """Identifies the request in the log of the service."""
    errors: tuple[FieldProblem, ...] | None = None
    """The fields that cannot be used."""


class ProblemError(ResponseError):
    """The service refused the request, and its response says why."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail, status=problem.status, retry_after=retry_after)
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.retry_after)

    @property
    def code(self) -> str:
        """The error for programs, such as `several-faces`."""
        return self.problem.code


class InvalidRequestError(ProblemError):
    """The request, or a field of it, cannot be used."""


class PhotoRefusedError(InvalidRequestError):
    """The photo cannot be used: it is no photo, it is too large, or it does not show one good face."""


class UnauthorizedError(ProblemError):
    """The key, the token, or the e-mail and password are not valid."""


class ForbiddenError(ProblemError):
    """The key or the user does not have permission to do this."""


class NotFoundError(ProblemError):
    """There is no such user, photo, login, key or gallery."""


class ConflictError(ProblemError):
    """It exists already, or the same request is still running."""


class TooManyRequestsError(ProblemError):
    """There were too many attempts. Wait for `retry_after` seconds."""


class ServiceFailedError(ProblemError):
    """The service is busy, or it failed. Its log has the reason under the request's id."""


_BY_STATUS: Final[Mapping[int, type[ProblemError]]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: TooManyRequestsError,
}
_problems: Final = TypeAdapter(Problem)


def error_of(response: httpx.Response) -> ResponseError:
    """Make the error of a response that is not a success."""
    retry_after = _retry_after(response)
    if response.headers.get("content-type", "").partition(";")[0] == _PROBLEM:
        with suppress(ValidationError):
            problem = _problems.validate_json(response.content)
            return _class_of(problem)(problem, retry_after)
    return unexpected(response, retry_after)


def unexpected(response: httpx.Response, retry_after: float | None = None) -> UnexpectedResponseError:
    """Make the error of a response that pgface did not send."""
    where = response.request.url.copy_with(query=None)
    return UnexpectedResponseError(
        f"{where} sent a response with the status {response.status_code} that is not one of pgface. Check the URL of "
        "the service, any proxy in front of it, and its version.",
        status=response.status_code,
        retry_after=retry_after,
    )


def _class_of(problem: Problem) -> type[ProblemError]:
    if problem.code in _PHOTO_CODES:
        return PhotoRefusedError
    return _BY_STATUS.get(problem.status, ServiceFailedError if problem.status >= 500 else InvalidRequestError)


def _retry_after(response: httpx.Response) -> float | None:
    """Read `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    with suppress(ValueError):
        when = parsedate_to_datetime(value)
        return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    return None
