"""The one handler of all errors: a problem of the API, or a page for browsers."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pgface.errors import PgfaceError, RequestError
from pgface.server.errors import http_problem, internal_problem, invalid_fields, problem
from pgface.server.logs import log_failure
from pgface.server.web.pages import PageRoute, error_page, http_error_page, internal_error_page, path_of


def add_error_handler(app: FastAPI) -> None:
    """Have an application answer every error with `answer_error`."""
    for kind in (PgfaceError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer_error)


async def answer_error(request: Request, error: Exception) -> Response:
    """The response to an error of any kind.

    Args:
        request: the request that failed.
        error: an error of pgface, FastAPI or Starlette, or an unexpected one.

    """
    if isinstance(error, HTTPException):
        return await http_error_page(request, error) if _wants_page(request) else http_problem(request, error)
    of_page = isinstance(request.scope.get("route"), PageRoute)
    if isinstance(error, RequestValidationError):
        # No form of the pages sends fields that are refused here.
        return error_page(request, RequestError()) if of_page else invalid_fields(request, error.errors())
    if isinstance(error, PgfaceError):
        return error_page(request, error) if of_page else problem(request, error)
    log_failure(error)
    return internal_error_page(request) if of_page else internal_problem(request)


def _wants_page(request: Request) -> bool:
    """Whether a browser asks for a path that does not exist, or with a method that it does not have."""
    return "text/html" in request.headers.get("accept", "") and not path_of(request).startswith("/api/")
