"""Leads a request to the gallery that its path names.

The paths of the API and of the pages belong to the default gallery. The same paths below `/api/v1/galleries/{gallery}`
and `/galleries/{gallery}` belong to another one.

A name that is not known leads to an empty gallery. So a caller without rights gets the same answers there as in a
gallery that exists: an unknown key, a wrong password, a registration that is closed.
"""

from __future__ import annotations

import re
import threading
from typing import Final
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

from pgface.errors import UnknownGalleryError
from pgface.gallery import Gallery
from pgface.server.service import Service

_API: Final = re.compile(r"/api/v1/galleries/([^/]+)(/(?!galleries(?:/|$)).+)")
_PAGES: Final = re.compile(r"/galleries/([^/]+)(/(?!(?:metrics|healthz|readyz)$).*)")
"""The metrics are those of all galleries together, so only a key of the default gallery may read them."""


class GalleryServices:
    """The services of the galleries. They share the queues and the limits of the process."""

    def __init__(self, default: Service) -> None:
        self.default = default
        self._services: WeakKeyDictionary[Gallery, Service] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def find(self, name: str) -> Service:
        """Return the service of a gallery, or that of the empty gallery if the name is not known.

        Raises:
            UnknownGalleryError: no gallery was ever created.

        """
        try:
            gallery, is_known = self.default.galleries[name], True
        except UnknownGalleryError:
            gallery, is_known = self.default.galleries.empty(), False
        with self._lock:
            if (service := self._services.get(gallery)) is None:
                service = self._services[gallery] = self.default.for_gallery(gallery, is_known=is_known)
        return service


class GalleryMiddleware:
    """Finds the gallery of a request, and removes its name from the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            if named := _API.fullmatch(path):
                await _lead(scope, named[1], root, f"/api/v1{named[2]}")
            elif named := _PAGES.fullmatch(path):
                await _lead(scope, named[1], root, named[2])
        await self._app(scope, receive, send)


async def _lead(scope: Scope, name: str, root: str, path: str) -> None:
    services: GalleryServices = scope["app"].state.galleries
    scope["pgface.gallery"], scope["pgface.root_path"] = name, root
    scope["pgface.service"] = await services.default.run_db(services.find, name)
    scope["root_path"] = f"{root}/galleries/{name}"
    scope["path"] = scope["root_path"] + path
