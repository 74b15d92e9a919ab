"""The ASGI application: its routes, its error handler, and the resources that it opens and closes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pgface.faces.engines.runtimes import runtimes_of
from pgface.gallery import Gallery
from pgface.server import metrics, web
from pgface.server.api import admin, auth, events, faces, galleries, jobs, liveness, operations, photos, users
from pgface.server.compat.compreface.middleware import CompreFaceMiddleware
from pgface.server.compat.rekognition.route import router as rekognition
from pgface.server.error_handlers import answer_error
from pgface.server.galleries import GalleryMiddleware, GalleryServices
from pgface.server.housekeeping import run_housekeeping
from pgface.server.middleware import RequestContextMiddleware
from pgface.server.openapi import document_of
from pgface.server.request_limits import RequestLimitsMiddleware
from pgface.server.service import Service
from pgface.settings import get_settings
from pgface.system.resources import return_large_blocks

PREFIX: Final = "/api/v1"

_DESCRIPTION: Final = """Face recognition in your PostgreSQL.

Users send the token of a login and see only their own data. Programs send an API key and may do what its scopes permit.
Photos are files in multipart/form-data, or base64 in JSON. Errors are problem details (RFC 9457)."""


def create_app(gallery: Gallery | None = None) -> FastAPI:
    """Create the web service as an ASGI application.

    Args:
        gallery: an open gallery, which stays open. By default the application opens the environment's gallery when it
            starts, and closes it when it ends.

    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = gallery or Gallery.open(get_settings())
        try:
            if gallery is None:
                return_large_blocks()
            engine = opened.engine  # loaded before the first request
            app.state.service = Service.create(opened)
            app.state.galleries = GalleryServices(app.state.service)
            metrics.observe()
            metrics.set_runtimes(runtimes_of(engine))
            if gallery is None:
                # 150,000 objects of modules and models stay as long as the process. Without this, Python's garbage
                # collector looks at all of them again and again, which took 1.7 of the 22 ms of a request.
                gc.collect()
                gc.freeze()
            housekeeping = asyncio.create_task(run_housekeeping(app.state.service))
            try:
                yield
            finally:
                housekeeping.cancel()
            app.state.service.close()
        finally:
            if gallery is None:
                opened.close()

    app = FastAPI(
        title="pgface",
        version=version("pgface"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        # FastAPI's pages load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        generate_unique_id_function=lambda route: route.name,
        # These two have handlers of FastAPI's own. All other errors reach `RequestContextMiddleware`.
        exception_handlers={RequestValidationError: answer_error, HTTPException: answer_error},
    )
    for module in (users, photos, faces, auth, liveness, events, jobs, admin, galleries):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(operations.router)
    settings = gallery.settings if gallery else get_settings()
    if settings.rekognition:
        app.include_router(rekognition)
    web.add_pages(app)
    app.add_middleware(RequestLimitsMiddleware)
    app.add_middleware(GalleryMiddleware)
    if settings.compreface:
        app.add_middleware(CompreFaceMiddleware)
    app.add_middleware(RequestContextMiddleware)  # the outermost
    app.openapi = document_of(app)  # type: ignore[method-assign]
    return app
