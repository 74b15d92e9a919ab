"""The web pages. The service renders them. They use small JavaScript modules and no files of other hosts."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import version
from typing import Final

from fastapi import Depends, FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pgface.server.web import account, admin, face, liveness, login
from pgface.server.web.pages import require_same_origin

__all__ = ["add_pages"]

_VERSION: Final = version("pgface").encode()


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a static file. Browsers may cache it if its URL contains the version of pgface."""
        response = await super().get_response(path, scope)
        cache = "public, max-age=86400" if scope["query_string"] == _VERSION else "no-cache"
        response.headers["Cache-Control"] = cache
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages and their static files to an application. The pages refuse forms from other sites."""
    for module in (login, face, liveness, account, admin):
        app.include_router(module.router, dependencies=[Depends(require_same_origin)])
    with resources.as_file(resources.files(__name__) / "static") as folder:
        app.mount("/static", _Static(directory=folder), name="static")
