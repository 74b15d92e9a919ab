"""The application: routes, errors, and what is opened when it starts and closed when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from pgface.gallery import Gallery
from pgface.server import metrics, web
from pgface.server.api import administration, auth, faces, introspection, operations, photos, users
from pgface.server.errors import answer_with_problems
from pgface.server.housekeeping import keep_house
from pgface.server.middleware import RequestContextMiddleware
from pgface.server.openapi import completed
from pgface.server.service import Service
from pgface.settings import get_settings

PREFIX: Final = "/api/v1"

_DESCRIPTION: Final = """Face recognition in your PostgreSQL.

People come with the token of a login and see only what is theirs; programs come with an API key and do what its
scopes say. Photos come as multipart/form-data, or as JSON in base64. Errors are problem details (RFC 9457)."""


def create_app(gallery: Gallery | None = None) -> FastAPI:
    """The web service as an ASGI application.

    Args:
        gallery: an open one, which stays open; if not given, the environment's is opened when the application starts.

    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = gallery or Gallery.open(get_settings())
        try:
            opened.engine  # noqa: B018 - loaded before the first request comes
            app.state.service = Service.of(opened)
            metrics.observe()
            house = asyncio.create_task(keep_house(app.state.service))
            try:
                yield
            finally:
                house.cancel()
            app.state.service.close()
        finally:
            if gallery is None:
                opened.close()

    app = FastAPI(
        title="pgface",
        version=version("pgface"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        # Their pages would fetch scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        generate_unique_id_function=_operation_id,
    )
    api = APIRouter(prefix=PREFIX)
    routers = [module.router for module in (users, photos, faces, auth, introspection, administration)]
    for router in routers:
        api.include_router(router)
    app.include_router(api)
    app.include_router(operations.router)
    answer_with_problems(app)
    web.add_pages(app)
    app.add_middleware(RequestContextMiddleware)
    app.openapi = completed(app, [*routers, operations.router])  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
