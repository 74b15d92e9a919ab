"""Errors as problem details (RFC 9457), with stable codes.

A code is the name of the error's class: `SeveralFacesError` is `several-faces`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pgface import errors
from pgface.errors import PgfaceError
from pgface.server.field_errors import sentence_of
from pgface.server.logs import log_failure

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[Mapping[type[PgfaceError], int]] = {
    # The most specific class of an error decides.
    errors.PgfaceError: 500,
    errors.PhotoError: 422,
    errors.PhotoTooLargeError: 413,
    errors.PhotoFormatError: 415,
    errors.EmbeddingError: 422,
    errors.ModelError: 503,
    errors.DatabaseError: 503,
    errors.StorageError: 503,
    errors.WorkerEndedError: 503,
    errors.AccountError: 422,
    errors.LoginRefusedError: 401,
    errors.NotLoggedInError: 401,
    errors.KeyRefusedError: 401,
    errors.TooManyAttemptsError: 429,
    errors.UnknownLoginError: 404,
    errors.UnknownKeyError: 404,
    errors.GalleryError: 422,
    errors.ModelMismatchError: 503,
    errors.UnknownUserError: 404,
    errors.AmbiguousUserError: 409,
    errors.UnknownPhotoError: 404,
    errors.DuplicateEmailError: 409,
    errors.FaceOfAnotherUserError: 409,
    errors.RequestError: 422,
    errors.NotAuthenticatedError: 401,
    errors.NotPermittedError: 403,
    errors.CursorError: 400,
    errors.MediaTypeError: 415,
    errors.RequestTooLargeError: 413,
    errors.RequestTooSlowError: 408,
    errors.RequestRepeatedError: 409,
    errors.ServiceBusyError: 503,
    errors.WorkTimeoutError: 503,
    errors.WorkCancelledError: 499,  # the status of nginx: no client receives the response
}

_IN_PUBLIC: Final[Mapping[type[PgfaceError], str]] = {
    # Instead of the error's own sentence, which is for the operator or names other people.
    errors.UnknownUserError: "There is no such user.",
    errors.AmbiguousUserError: "Several users have this name. Give user_id or email.",
    errors.UnknownPhotoError: "There is no such photo.",
    errors.FaceOfAnotherUserError: "This face already belongs to another user.",
    errors.UnknownKeyError: "There is no such API key, or it was revoked.",
    errors.KeyRefusedError: "This API key is not known, or was revoked.",
    errors.TooManyAttemptsError: "There were too many failed attempts. Wait, and try again.",
}
HEAD_TOO_LARGE: Final = (
    "head-too-large",
    431,
    "The headers of this request are too many or too large. Send at most 100 headers and 64 KiB.",
)
INTERNAL: Final = (
    "internal",
    500,
    "Something went wrong in the service. The log has the reason by the request's id.",
)
_OF_HTTP: Final = (
    ("invalid-request", 422, "A field is missing, is not known, or has a value that cannot be used."),
    ("not-found", 404, "There is nothing at this path. Check it against `/api/v1/openapi.json`."),
    (
        "method-not-allowed",
        405,
        "This path does not accept the method. The header `Allow` lists the accepted ones.",
    ),
    HEAD_TOO_LARGE,
    INTERNAL,
)
_DETAILS_OF_HTTP: Final = {code: detail for code, _, detail in _OF_HTTP}
_OF_LOAD: Final = (errors.ServiceBusyError, errors.WorkTimeoutError)
"""Errors of load, whose sentences clients see."""
_NOT_NOW: Final = "This does not work at the moment. Try again later."
_MAX_FIELDS: Final = 20
_MAX_FIELD_NAME: Final = 100
_BUSY_SECONDS: Final = 1
_UNAVAILABLE_SECONDS: Final = 5


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="The name of the field. Dots separate the names of nested fields.")
    detail: str


class Problem(BaseModel):
    """An error, as RFC 9457 describes it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The page that describes the error: `/problems#` and the code.")
    title: str
    status: int
    detail: str = Field(description="What happened, and what to do.")
    code: str = Field(description="For programs. It does not change between versions.")
    request_id: str | None = Field(default=None, description="Identifies the request in the log.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields that cannot be used.")


def code_of(error: type[PgfaceError]) -> str:
    """`several-faces` for `SeveralFacesError`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", error.__name__.removesuffix("Error")).lower()


def status_of(error: type[PgfaceError]) -> int:
    """The HTTP status of an error."""
    return next(_STATUS[kind] for kind in error.__mro__ if kind in _STATUS)


@cache
def known_problems() -> tuple[tuple[str, int, str], ...]:
    """The code, the status and the sentence of every error that the service can respond with."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PgfaceError)]
    ours = ((code_of(kind), status_of(kind), _IN_PUBLIC.get(kind) or str(kind())) for kind in kinds)
    return (*ours, *_OF_HTTP)


def public_sentences() -> frozenset[str]:
    """The sentences that the service uses instead of an error's own."""
    return frozenset({_NOT_NOW, *_IN_PUBLIC.values()})


def problem(request: Request, error: PgfaceError) -> JSONResponse:
    """The response to an error of pgface. Failures of the service are logged."""
    kind = type(error)
    status = status_of(kind)
    log_if_failure(error)
    return _answer(request, status, code_of(kind), public_detail(request, error), headers=headers_of(error))


def public_detail(request: Request, error: PgfaceError) -> str:
    """The sentence of an error for the caller. It reveals nothing about the service or other people."""
    if isinstance(error, _OF_LOAD):
        return str(error)
    if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _NOT_NOW
    caller = getattr(request.state, "caller", None)
    if isinstance(error, errors.FaceOfAnotherUserError) and caller is not None and caller.may("admin"):
        return str(error).removesuffix(f" {errors.FaceOfAnotherUserError.ADVICE}")
    said = _IN_PUBLIC.get(type(error)) or str(error)
    return said.replace(errors.SeveralFacesError.CHOICE, "send the field `face` with the value `largest`")


def log_if_failure(error: PgfaceError) -> None:
    """Log an error that is a failure of the service."""
    failure = status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR
    if failure and not isinstance(error, _OF_LOAD):
        log_failure(error)


def headers_of(error: PgfaceError) -> dict[str, str]:
    """The headers of the response to an error."""
    status = status_of(type(error))
    if isinstance(error, errors.TooManyAttemptsError):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.RequestRepeatedError | errors.ServiceBusyError | errors.WorkTimeoutError):
        return {"Retry-After": str(_BUSY_SECONDS)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(_UNAVAILABLE_SECONDS)}
    if isinstance(error, errors.RequestTooLargeError | errors.RequestTooSlowError):
        return {"Connection": "close"}  # the rest of the body is not read
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="pgface"'}
    return {}


def _answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    fields: Sequence[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = Problem(
        type=f"{_root(request)}/problems#{code}",
        title=code.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        request_id=getattr(request.state, "request_id", None),
        errors=list(fields) if fields else None,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def invalid_fields(request: Request, found: Sequence[Mapping[str, Any]]) -> JSONResponse:
    """The response to fields that pydantic refuses. It has no values, which may be photos or passwords."""
    listed = found[:_MAX_FIELDS]  # a body may have thousands of unknown fields
    fields = [FieldProblem(field=_name(error["loc"]), detail=sentence_of(error)) for error in listed]
    first = f"{fields[0].field}: {fields[0].detail}" if fields else "The request cannot be understood."
    return _answer(request, 422, "invalid-request", first, fields=fields)


def _name(location: Sequence[Any]) -> str:
    places = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(places)[:_MAX_FIELD_NAME] or "body"


def http_problem(request: Request, error: HTTPException) -> JSONResponse:
    """The response to a path that does not exist, or a method that it does not have."""
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "-")
    return _answer(request, error.status_code, code, _DETAILS_OF_HTTP.get(code, f"{phrase}."), headers=error.headers)


def internal_problem(request: Request) -> JSONResponse:
    """The response to an unexpected error."""
    code, status, detail = INTERNAL
    return _answer(request, status, code, detail)


def _root(request: Request) -> str:
    """The path of the service on its host. Starlette adds the path of a mounted app to `root_path`."""
    return str(request.scope.get("app_root_path", request.scope.get("root_path", "")))
