"""Errors as answers: problem details (RFC 9457) with codes that stay.

A code is the name of the error's class: `SeveralFacesError` is `several-faces`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pgface import errors
from pgface.errors import PgfaceError
from pgface.server.field_errors import sentence_of
from pgface.server.logs import log_failure

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[Mapping[type[PgfaceError], int]] = {
    # The most special ancestor of an error that stands here decides.
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
    errors.WorkCancelledError: 499,  # as nginx has it: no client is left for the answer
}

_IN_PUBLIC: Final[Mapping[type[PgfaceError], str]] = {
    # Where the error's own sentence speaks to who runs the service, or tells of somebody else.
    errors.UnknownUserError: "There is no such user.",
    errors.AmbiguousUserError: "Several users have this name; give user_id or email.",
    errors.UnknownPhotoError: "There is no such photo.",
    errors.FaceOfAnotherUserError: "This face already belongs to another user.",
    errors.UnknownKeyError: "There is no such API key, or it was revoked.",
    errors.KeyRefusedError: "This API key is not known, or was revoked.",
    errors.TooManyAttemptsError: "There were too many failed attempts. Wait, and try again.",
}
HEAD_TOO_LARGE: Final = (
    "head-too-large",
    431,
    "The headers of this request are too many or too large; send at most 100 headers and 64 KiB.",
)
_OF_HTTP: Final = (
    ("invalid-request", 422, "A field is missing, is not known, or has a value that cannot be used."),
    ("not-found", 404, "There is nothing at this path."),
    ("method-not-allowed", 405, "This path takes other methods; the header `Allow` names them."),
    HEAD_TOO_LARGE,
    ("internal", 500, "Something went wrong here; the log knows what, by the request's id."),
)
_OF_LOAD: Final = (errors.ServiceBusyError, errors.WorkTimeoutError)
"""Of these a client learns more than that it did not work."""
_NOT_NOW: Final = "This does not work at the moment; try again later."
_MOST_FIELDS: Final = 20
_MOST_NAME: Final = 100
_BUSY_SECONDS: Final = 1
_AWAY_SECONDS: Final = 5


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="Its name, with full stops where it lies inside of others.")
    detail: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Where it is described: `/problems#` and the code.")
    title: str
    status: int
    detail: str = Field(description="One sentence that says what happened and what to do.")
    code: str = Field(description="For programs; it stays the same.")
    request_id: str | None = Field(default=None, description="By which the log knows the request.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields that cannot be used.")


def code_of(error: type[PgfaceError]) -> str:
    """`several-faces` for `SeveralFacesError`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", error.__name__.removesuffix("Error")).lower()


def status_of(error: type[PgfaceError]) -> int:
    """The HTTP status of an error."""
    return next(_STATUS[kind] for kind in error.__mro__ if kind in _STATUS)


@cache
def known_problems() -> tuple[tuple[str, int, str], ...]:
    """Code, status and sentence of every error that the service can answer with."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PgfaceError)]
    ours = ((code_of(kind), status_of(kind), _IN_PUBLIC.get(kind) or str(kind())) for kind in kinds)
    return (*ours, *_OF_HTTP)


def public_sentences() -> frozenset[str]:
    """What the service says in place of an error's own sentence."""
    return frozenset({_NOT_NOW, *_IN_PUBLIC.values()})


def problem(request: Request, error: PgfaceError) -> JSONResponse:
    """The answer to an error of pgface's own; one that is the service's fault goes to the log."""
    kind = type(error)
    status = status_of(kind)
    log_if_ours(error)
    return _answer(request, status, code_of(kind), public_detail(request, error), headers=headers_of(error))


def public_detail(request: Request, error: PgfaceError) -> str:
    """The sentence of an error for whoever called, which says nothing of the service's inside or of other people."""
    if isinstance(error, _OF_LOAD):
        return str(error)
    if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _NOT_NOW
    caller = getattr(request.state, "caller", None)
    if isinstance(error, errors.FaceOfAnotherUserError) and caller is not None and caller.may("admin"):
        return str(error).removesuffix(f" {errors.FaceOfAnotherUserError.ADVICE}")
    said = _IN_PUBLIC.get(type(error)) or str(error)
    return said.replace(errors.SeveralFacesError.CHOICE, "send the field `face` with the value `largest`")


def log_if_ours(error: PgfaceError) -> None:
    """A line in the log for an error that is not the caller's."""
    ours = status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR
    if ours and not isinstance(error, _OF_LOAD):
        log_failure(error)


def headers_of(error: PgfaceError) -> dict[str, str]:
    """The headers that go with an error."""
    status = status_of(type(error))
    if isinstance(error, errors.TooManyAttemptsError):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.RequestRepeatedError | errors.ServiceBusyError | errors.WorkTimeoutError):
        return {"Retry-After": str(_BUSY_SECONDS)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(_AWAY_SECONDS)}
    if isinstance(error, errors.RequestTooLargeError | errors.RequestTooSlowError):
        return {"Connection": "close"}  # the rest of the body is not waited for
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
    """The answer to fields that pydantic refuses, without the values, which may be photos or passwords."""
    told = found[:_MOST_FIELDS]  # a client can send as many unknown ones as fit into a body
    fields = [FieldProblem(field=_name(error["loc"]), detail=sentence_of(error)) for error in told]
    first = f"{fields[0].field}: {fields[0].detail}" if fields else "The request cannot be understood."
    return _answer(request, 422, "invalid-request", first, fields=fields)


def _name(location: Sequence[Any]) -> str:
    places = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(places)[:_MOST_NAME] or "body"


def http_problem(request: Request, error: HTTPException) -> JSONResponse:
    """The answer to a request that no operation is for."""
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "-")
    return _answer(request, error.status_code, code, f"{phrase}.", headers=error.headers)


def failed(request: Request, error: Exception) -> JSONResponse:
    """The answer to what nobody has foreseen."""
    log_failure(error)
    return _answer(request, 500, "internal", "Something went wrong here; the log knows what, by the request's id.")


def answer_with_problems(app: FastAPI) -> None:
    """Have an application answer every error with problem details."""

    async def of_pgface(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, PgfaceError)  # noqa: S101 - what it is registered for
        return problem(request, error)

    async def of_fields(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return invalid_fields(request, error.errors())

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        return http_problem(request, error)

    app.add_exception_handler(PgfaceError, of_pgface)
    app.add_exception_handler(RequestValidationError, of_fields)
    app.add_exception_handler(HTTPException, of_http)


def _root(request: Request) -> str:
    """The path of the whole service on its host: Starlette adds that of a mounted part to `root_path`."""
    return str(request.scope.get("app_root_path", request.scope.get("root_path", "")))
