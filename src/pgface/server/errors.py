"""Problem details (RFC 9457) for errors, with stable codes."""

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
    errors.ReadOnlyError: 421,
    errors.StorageError: 503,
    errors.WorkerEndedError: 503,
    errors.AccountError: 422,
    errors.LoginRefusedError: 401,
    errors.NotLoggedInError: 401,
    errors.KeyRefusedError: 401,
    errors.TooManyAttemptsError: 429,
    errors.UnknownLoginError: 404,
    errors.UnknownLivenessSessionError: 404,
    errors.UnknownKeyError: 404,
    errors.GalleryError: 422,
    errors.ModelMismatchError: 503,
    errors.UnknownGalleryError: 404,
    errors.DuplicateGalleryError: 409,
    errors.UnknownUserError: 404,
    errors.AmbiguousUserError: 409,
    errors.UnknownPhotoError: 404,
    errors.UnknownJobError: 404,
    errors.JobFinishedError: 409,
    errors.DuplicateEmailError: 409,
    errors.DuplicateExternalIdError: 409,
    errors.FaceOfAnotherUserError: 409,
    errors.RequestError: 422,
    errors.NotAuthenticatedError: 401,
    errors.NotPermittedError: 403,
    errors.CursorError: 400,
    errors.EventsDeletedError: 410,
    errors.MediaTypeError: 415,
    errors.RequestTooLargeError: 413,
    errors.RequestTooSlowError: 408,
    errors.RequestRepeatedError: 409,
    errors.ServiceBusyError: 503,
    errors.WorkTimeoutError: 503,
    errors.WorkCancelledError: 499,  # the status of nginx: no client receives the response
}

_PUBLIC_SENTENCES: Final[Mapping[type[PgfaceError], str]] = {
    # These replace the error's own sentence, which is for the operator or names other people.
    errors.UnknownGalleryError: "There is no such gallery.",
    errors.UnknownUserError: "There is no such user.",
    errors.AmbiguousUserError: "Several users have this name. Give user_id or email.",
    errors.UnknownPhotoError: "There is no such photo.",
    errors.UnknownJobError: "There is no such job.",
    errors.FaceOfAnotherUserError: "This face already belongs to another user.",
    errors.UnknownKeyError: "There is no such API key, or it was revoked.",
    errors.KeyRefusedError: "This API key is not known, or was revoked.",
    errors.ReadOnlyError: "This service only reads, because its database is a replica. Nothing was changed. Send this "
    "request to the service of the primary.",
    errors.TooManyAttemptsError: "There were too many failed attempts. Wait, and try again.",
}
HTTP_PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "invalid-request": (422, "A field is missing, is not known, or has a value that cannot be used."),
    "not-found": (
        404,
        "There is nothing at this path. `/api/v1/openapi.json` describes all operations, and `/problems` all error "
        "codes. In the documentation of pgface, the page HTTP API has both.",
    ),
    "method-not-allowed": (405, "This path does not accept the method. The header `Allow` lists the accepted ones."),
    "head-too-large": (
        431,
        "The headers of this request are too many or too large. Send at most 100 headers and 64 KiB.",
    ),
    "internal": (500, "Something went wrong in the service. The log has the reason under the request's id."),
}
"""The status and the sentence of each problem without an error class, by code."""
REGISTRATION_CLOSED: Final = "Registration is closed. Ask an administrator to add you."
EMAIL_TAKEN: Final = "A user with this e-mail exists already. Log in, or ask an administrator to set your password."
_LOAD_ERRORS: Final = (errors.ServiceBusyError, errors.WorkTimeoutError)
"""Errors because of load. Clients see their sentences."""
_TRY_LATER: Final = "This does not work at the moment. Try again later."
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
    code: str = Field(description="The error for programs. It does not change between versions.")
    request_id: str | None = Field(default=None, description="Identifies the request in the log.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields that cannot be used.")


def code_of(error: type[PgfaceError]) -> str:
    """Return the code of an error class: `several-faces` for `SeveralFacesError`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", error.__name__.removesuffix("Error")).lower()


def status_of(error: type[PgfaceError]) -> int:
    """Return the HTTP status of an error class."""
    return next(_STATUS[kind] for kind in error.__mro__ if kind in _STATUS)


@cache
def known_problems() -> tuple[tuple[str, int, str], ...]:
    """Return the code, the status and the sentence of every error that the service can respond with."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PgfaceError)]
    ours = ((code_of(kind), status_of(kind), _PUBLIC_SENTENCES.get(kind) or str(kind())) for kind in kinds)
    return (*ours, *((code, *problem) for code, problem in HTTP_PROBLEMS.items()))


def public_sentences() -> frozenset[str]:
    """Return the sentences that the service uses in place of those of the error classes."""
    return frozenset({_TRY_LATER, REGISTRATION_CLOSED, EMAIL_TAKEN, *_PUBLIC_SENTENCES.values()})


def problem(request: Request, error: PgfaceError) -> JSONResponse:
    """Make the response to an error of pgface, and log a failure of the service."""
    kind = type(error)
    status = status_of(kind)
    log_if_failure(error)
    return _response(request, status, code_of(kind), public_detail(request, error), headers=headers_of(error))


def public_detail(request: Request, error: PgfaceError) -> str:
    """Return the sentence of an error for the caller. It reveals nothing about the service or other people."""
    if isinstance(error, _LOAD_ERRORS):
        return str(error)
    if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _TRY_LATER
    caller = getattr(request.state, "caller", None)
    if isinstance(error, errors.FaceOfAnotherUserError) and caller is not None and caller.may("admin"):
        return str(error).removesuffix(f" {errors.FaceOfAnotherUserError.ADVICE}")
    sentence = _PUBLIC_SENTENCES.get(type(error)) or str(error)
    return sentence.replace(errors.SeveralFacesError.CHOICE, "send the field `face` with the value `largest`")


def log_if_failure(error: PgfaceError) -> None:
    """Log an error if it is a failure of the service."""
    failure = status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR
    if failure and not isinstance(error, _LOAD_ERRORS):
        log_failure(error)


def headers_of(error: PgfaceError) -> dict[str, str]:
    """Return the headers of the response to an error."""
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


def _response(
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
    """Make the response to fields that pydantic refuses. It omits their values, which may be photos or passwords."""
    listed = found[:_MAX_FIELDS]  # a body may have thousands of unknown fields
    fields = [FieldProblem(field=_name(error["loc"]), detail=sentence_of(error)) for error in listed]
    first = f"{fields[0].field}: {fields[0].detail}" if fields else "The request cannot be understood."
    return _response(request, 422, "invalid-request", first, fields=fields)


def _name(location: Sequence[Any]) -> str:
    places = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(places)[:_MAX_FIELD_NAME] or "body"


def http_problem(request: Request, error: HTTPException) -> JSONResponse:
    """Make the response to a path that does not exist, or to a method that the path does not accept."""
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "-")
    _, detail = HTTP_PROBLEMS.get(code, (error.status_code, f"{phrase}."))
    detail = detail.replace("`/", f"`{_root(request)}/")
    return _response(request, error.status_code, code, detail, headers=error.headers)


def internal_problem(request: Request) -> JSONResponse:
    """Make the response to an unexpected error."""
    status, detail = HTTP_PROBLEMS["internal"]
    return _response(request, status, "internal", detail)


def _root(request: Request) -> str:
    """Return the path of the service on its host. Starlette adds the path of a mounted app to `root_path`.

    The pages that explain errors are not repeated below the path of a gallery.
    """
    names = ("pgface.root_path", "app_root_path", "root_path")
    return str(next((request.scope[name] for name in names if name in request.scope), ""))
