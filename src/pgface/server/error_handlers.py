"""The handler of all errors. It responds with problem details, or with a page to browsers."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pgface.errors import ModelMismatchError, PgfaceError, RequestError
from pgface.server.errors import http_problem, internal_problem, invalid_fields, problem
from pgface.server.logs import log_failure
from pgface.server.service import service_of
from pgface.server.web.pages import PageRoute, error_page, http_error_page, internal_error_page, path_of

_API_PATHS: Final = ("api", "docs", "redoc", "openapi.json")


async def answer_error(request: Request, error: Exception) -> Response:
    """Make the response to an error of any kind.

    Args:
        request: the request that failed.
        error: an error of pgface, FastAPI or Starlette, or an unexpected one.

    """
    if isinstance(error, HTTPException):
        return await http_error_page(request, error) if _wants_page(request) else http_problem(request, error)
    is_page = isinstance(request.scope.get("route"), PageRoute)
    if isinstance(error, RequestValidationError):
        # No form of the pages sends fields that are refused here.
        return error_page(request, RequestError()) if is_page else invalid_fields(request, error.errors())
    if isinstance(error, ModelMismatchError):
        await adopt_model(request)
    if isinstance(error, PgfaceError):
        return error_page(request, error) if is_page else problem(request, error)
    log_failure(error)
    return internal_error_page(request) if is_page else internal_problem(request)


async def adopt_model(request: Request) -> None:
    """Let later requests use the new model, after `pgface reembed` has changed it."""
    try:
        await run_in_threadpool(service_of(request).gallery.adopt_model)
    except PgfaceError as error:
        log_failure(error)


def _wants_page(request: Request) -> bool:
    """Whether a browser sent the request, and not to a path of an API or of its documentation."""
    first_name = path_of(request).lstrip("/").partition("/")[0]
    return "text/html" in request.headers.get("accept", "") and first_name not in _API_PATHS
