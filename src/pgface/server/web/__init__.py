"""The web pages: rendered by the service, with small modules of JavaScript, and nothing from anywhere else."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from importlib import resources
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pgface.errors import PgfaceError
from pgface.server.errors import http_problem
from pgface.server.web import account, admin, face, login
from pgface.server.web.languages import N_
from pgface.server.web.pages import failure_page, path_of, viewer_of

__all__ = ["add_pages"]

_VERSION: Final = version("pgface").encode()
_NO_PAGE: Final = N_("There is no such page.")
_NOT_SO: Final = N_("This address does not accept this kind of request.")


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file; one whose URL names pgface's version does not change."""
        response = await super().get_response(path, scope)
        kept = "public, max-age=86400" if scope["query_string"] == _VERSION else "no-cache"
        response.headers["Cache-Control"] = kept
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages to an application; for browsers, errors outside of its API are pages too."""
    for module in (login, face, account, admin):
        app.include_router(module.router)
    with resources.as_file(resources.files(__name__) / "static") as folder:
        app.mount("/static", _Static(directory=folder), name="static")

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
        browser = "text/html" in request.headers.get("accept", "")
        if not browser or path_of(request).startswith("/api/"):
            return http_problem(request, error)
        with suppress(PgfaceError):
            await viewer_of(request)
        unknown = error.status_code == HTTPStatus.NOT_FOUND
        page = failure_page(request, error.status_code, _NO_PAGE if unknown else _NOT_SO)
        page.headers.update(error.headers or {})
        return page

    app.add_exception_handler(HTTPException, of_http)
