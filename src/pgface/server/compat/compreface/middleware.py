"""Finds the requests that are CompreFace's, checks their keys, and answers errors in CompreFace's format.

It is ASGI middleware in front of pgface's own routes. As for these, the caller is found before a body is read, and a
body is read within limits of bytes and time. A key leads to its gallery, so that the paths are the same for all
galleries.

Programs send their key in a header of its own, never in a cookie. So pages of any site may call these paths, as with
CompreFace.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pgface.accounts.compreface_keys import find_compreface_key
from pgface.accounts.subjects import SubjectExistsError
from pgface.errors import (
    EmbeddingError,
    GalleryError,
    ModelMismatchError,
    PgfaceError,
    PhotoError,
    ReadOnlyError,
    RequestTooLargeError,
    SeveralFacesError,
    UnknownGalleryError,
)
from pgface.server.auth import KeyPrincipal
from pgface.server.compat.compreface import operations as to
from pgface.server.compat.compreface.bodies import MAX_REQUEST_BYTES, MAX_TEXT_BYTES
from pgface.server.compat.compreface.operations import Call, Handler
from pgface.server.compat.compreface.wire import (
    CompreFaceError,
    Query,
    failed,
    invalid,
    no_face,
    undefined,
)
from pgface.server.error_handlers import adopt_model
from pgface.server.errors import headers_of, log_if_failure, public_detail, status_of
from pgface.server.galleries import GalleryServices
from pgface.server.logs import log_failure
from pgface.server.request_limits import LimitedBody, require_length
from pgface.server.service import client_of, service_of
from pgface.server.work_queue import requester_name

PREFIX: Final = "/api/v1"
PATHS: Final = ("recognition", "verification", "detection", "static", "config", "consistence")
"""The first parts of the paths after the prefix. No path of pgface's own API begins with one of them."""
_PATH: Final = re.compile(rf"{PREFIX}/(?P<first>{'|'.join(PATHS)})(?:/.*)?", re.DOTALL)
_SERVICES: Final = {"recognition": "Recognition", "verification": "Verification", "detection": "Detection"}
_SUBJECT: Final = "(?P<subject>.+?)"
"""A name may contain slashes. The SDKs do not encode them."""
_KEY_HEADER: Final = "x-api-key"
_CORS: Final = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "content-type, x-api-key",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, in place of a route of FastAPI. The log and the metrics show its name."""

    method: str
    path: re.Pattern[str]
    handle: Handler
    name: str
    max_bytes: int
    """The limit of the body."""


def _operation(method: str, path: str, handle: Handler, max_bytes: int = MAX_TEXT_BYTES) -> Operation:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path).replace("(?P<subject>[^/]+)", _SUBJECT)
    # Spring also accepts a slash at the end. Here, a program that deletes `/subjects/` + an empty name deletes nothing.
    end = "" if method == "DELETE" and not path.endswith("}") else "/?"
    matched = re.compile(f"{PREFIX}{pattern}{end}")
    return Operation(method, matched, handle, f"compreface_{handle.__name__}", max_bytes)


OPERATIONS: Final = (
    _operation("POST", "/recognition/recognize", to.recognize, MAX_REQUEST_BYTES),
    _operation("GET", "/recognition/subjects", to.list_subjects),
    _operation("POST", "/recognition/subjects", to.add_subject),
    _operation("DELETE", "/recognition/subjects", to.delete_subjects),
    _operation("PUT", "/recognition/subjects/{subject}", to.rename_subject),
    _operation("DELETE", "/recognition/subjects/{subject}", to.delete_subject),
    _operation("GET", "/recognition/faces", to.list_examples),
    _operation("POST", "/recognition/faces", to.add_example, MAX_REQUEST_BYTES),
    _operation("DELETE", "/recognition/faces", to.delete_examples),
    _operation("POST", "/recognition/faces/delete", to.delete_some_examples),
    _operation("DELETE", "/recognition/faces/{image_id}", to.delete_example),
    _operation("GET", "/recognition/faces/{image_id}/img", to.get_image),
    _operation("POST", "/recognition/faces/{image_id}/verify", to.verify_example, MAX_REQUEST_BYTES),
    _operation("POST", "/recognition/embeddings/recognize", to.recognize_embeddings, MAX_REQUEST_BYTES),
    _operation(
        "POST", "/recognition/embeddings/faces/{image_id}/verify", to.verify_embeddings_of_example, MAX_REQUEST_BYTES
    ),
    _operation("POST", "/detection/detect", to.detect, MAX_REQUEST_BYTES),
    _operation("POST", "/verification/verify", to.verify_images, MAX_REQUEST_BYTES),
    _operation("POST", "/verification/embeddings/verify", to.verify_embeddings, MAX_REQUEST_BYTES),
    _operation("GET", "/static/{api_key}/images/{image_id}", to.get_image),
    _operation("GET", "/config", to.limits),
    _operation("GET", "/consistence/status", to.consistence),
)


class CompreFaceMiddleware:
    """Answers the requests to CompreFace's paths, and passes on all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = _path_of(scope) if scope["type"] == "http" else ""
        found = _PATH.fullmatch(path)
        if found is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            if scope["method"] == "OPTIONS":
                response = Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)
            else:
                response = await _answer(request, path, found["first"])
        except Exception as error:
            response = (await _compreface_error(request, error)).response()
        response.headers.update(_CORS)
        await response(scope, receive, send)


async def _answer(request: Request, path: str, first: str) -> Response:
    operation, parameters = _find_operation(request.method, path)
    if operation is not None:
        request.scope["route"] = operation
    if first in _SERVICES:
        await _require_key(request, request.headers.get(_KEY_HEADER), first)
    elif "api_key" in parameters:
        await _require_key(request, parameters["api_key"], "recognition")
    if operation is None:
        known = any(one.path.fullmatch(path) for one in OPERATIONS)
        message = f"Request method '{request.method}' not supported" if known else "No message available"
        raise CompreFaceError(404, 0, message)
    if any("\0" in value for value in parameters.values()):
        raise undefined()
    try:
        query = Query(request.scope["query_string"])
    except ValueError:
        raise undefined() from None
    require_length(request, operation.max_bytes)
    service = service_of(request)
    with service.body_budget.lease(requester_name()) as lease:
        body = LimitedBody(request.receive, operation.max_bytes, lease, service.settings.request_timeout)
        limited = Request(request.scope, body.receive)
        call = Call(limited, service, service.gallery, client_of(request), query, parameters)
        return await operation.handle(call)


async def _require_key(request: Request, sent: str | None, wanted: str) -> None:
    """Find the key of a caller, in the order in which CompreFace checks it, and the gallery of the key."""
    if sent is None:
        raise CompreFaceError(400, 20, f"Missing header: {_KEY_HEADER}")
    try:
        key = uuid.UUID(sent) if len(sent) >= 36 else None
    except ValueError:
        key = None
    if key is None:
        raise invalid("Service API key should be UUID")
    galleries: GalleryServices = request.app.state.galleries
    home = galleries.default
    unknown = CompreFaceError(404, 10, f"{_SERVICES[wanted]} service with API Key {key} not found")
    found = await home.run_db(find_compreface_key, home.gallery.database, key)
    if found is None or found.service != wanted:
        raise unknown
    if found.gallery is not None:
        try:
            service = await home.run_db(galleries.find, found.gallery)
        except UnknownGalleryError:
            raise unknown from None
        if not service.is_known:  # an archive was restored without this gallery
            raise unknown
        request.scope["pgface.service"] = service
    request.state.caller = KeyPrincipal(found, str(key), of_home=found.gallery is not None)


def _find_operation(method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
    for operation in OPERATIONS:
        if operation.method == method and (match := operation.path.fullmatch(path)) is not None:
            return operation, match.groupdict()
    return None, {}


async def _compreface_error(request: Request, error: Exception) -> CompreFaceError:
    """Return CompreFace's error for an error of any kind."""
    if isinstance(error, CompreFaceError):
        return error
    if isinstance(error, ModelMismatchError):
        await adopt_model(request)
    if not isinstance(error, PgfaceError):
        log_failure(error)
        return failed("internal error", 500)
    if isinstance(error, SubjectExistsError):
        return CompreFaceError(400, 43, "Subject already exists")
    if isinstance(error, SeveralFacesError):
        return CompreFaceError(400, 31, "More than one face in the source image")
    if isinstance(error, PhotoError):
        return no_face()
    status, headers = status_of(type(error)), headers_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_if_failure(error)
        return failed(public_detail(request, error), status, headers)
    if isinstance(error, ReadOnlyError):
        return failed(public_detail(request, error), status, headers)
    if isinstance(error, GalleryError | EmbeddingError):
        return invalid(str(error))
    return undefined(400 if isinstance(error, RequestTooLargeError) else status, headers)


def _path_of(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
