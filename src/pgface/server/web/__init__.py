"""The web pages: rendered by the service, with small modules of JavaScript, and nothing from anywhere else."""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pgface.server.web import account, admin, entrance

__all__ = ["add_pages"]


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, which changes only with pgface's version; that is in its URL."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response


def add_pages(app: FastAPI) -> None:
    """Add the pages to an application."""
    for module in (entrance, account, admin):
        app.include_router(module.router)
    with resources.as_file(resources.files(__name__) / "static") as folder:
        app.mount("/static", _Static(directory=folder), name="static")
