"""The OpenAPI document: the document of FastAPI, with forms, problems, and the permitted callers of each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel

from pgface.server.auth import CallerGuard
from pgface.server.bodies import JSON, MULTIPART, BodyRoute
from pgface.server.errors import MEDIA_TYPE, Problem
from pgface.server.schemas.base import RequestBody, ResponseBody, example_of
from pgface.server.service import COOKIE

Document = dict[str, Any]

ANYONE: Final = "anyone, without credentials"

_SCHEMA: Final = "#/components/schemas/"
_RESPONSE: Final = "#/components/responses/"
_CREDENTIALS: Final = {
    "token": {
        "type": "http",
        "description": "An API key (`pgface keys create`), or the token of a login (`POST /api/v1/auth/login`).",
        "scheme": "bearer",
    },
    "cookie": {
        "type": "apiKey",
        "description": "The login of the pages of the service.",
        "in": "cookie",
        "name": COOKIE,
    },
}
"""The ways to send credentials. `CallerGuard` reads them itself, so they are not dependencies of FastAPI."""
_TAGS: Final = {
    "users": "The users of the gallery.",
    "photos": "Enroll photos, and list and delete them.",
    "faces": "Identify, verify, compare and detect faces. These operations store nothing of a photo.",
    "auth": "Register, log in and log out, manage your account, and check tokens for other applications.",
    "liveness": "The frames of liveness sessions, which programs start with CreateFaceLivenessSession.",
    "events": "What happened in the gallery, for other programs.",
    "jobs": "Long work that goes on after the response, such as the enrollment of an archive of photos.",
    "administration": "The gallery's status, API keys, and the audit log.",
    "operations": "Health checks and metrics.",
}
_PROBLEMS: Final = {
    400: "The cursor does not belong to this list.",
    401: "There are no valid credentials.",
    403: "This caller is not permitted to do this.",
    404: "There is no such user, photo, login, session, key or job.",
    408: "The body did not arrive in time.",
    409: "It exists or has ended already, or a request with this Idempotency-Key is running.",
    410: "Events after the cursor were deleted.",
    413: "The body or the photo is too large.",
    415: "The media type of the body is wrong, or the file is not a photo.",
    421: "This service only reads, because its database is a replica. Send the request to the service of the primary.",
    422: "The request, or a photo in it, cannot be used.",
    429: "There were too many failed attempts. `Retry-After` says how many seconds to wait.",
    500: "The service failed. The log has the reason under the request's id.",
    503: "The service is busy, or the database or the model is not available. `Retry-After` says when to try again.",
}
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMA}Problem"}}}
_ALWAYS: Final = (500, 503)
_WITH_CALLERS: Final = (401, 403)
_WITH_BODY: Final = (408, 413, 415, 422)
_READ_BY_POST: Final = ("compare", "detect", "introspect")
"""Operations that a service answers on a replica, too. Identifications and verifications may have to write an event."""
_WITH_PARAMETER: Final = {"cursor": 400, "idempotency-key": 409}


def problems(*statuses: int) -> dict[int | str, Document]:
    """Describe problems of an operation, for FastAPI's `responses`."""
    return {status: {"description": _PROBLEMS[status], "content": _PROBLEM} for status in statuses}


def document_of(app: FastAPI) -> Callable[[], Document]:
    """Make a function for `FastAPI.openapi`, which generates the document of an application once."""

    def document() -> Document:
        if app.openapi_schema is None:
            routes = [route for route in iter_route_contexts(app.routes) if getattr(route, "include_in_schema", False)]
            _complete(FastAPI.openapi(app), {route.name: route.original_route for route in routes})
        assert app.openapi_schema is not None  # noqa: S101 - FastAPI keeps it
        return app.openapi_schema

    return document


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Yield the method, the path and the description of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def schema_of(document: Document, content: Document) -> Document:
    """Return the schema of a body or a response, also if it is a reference."""
    schema: Document = content["schema"]
    return document["components"]["schemas"][schema["$ref"].removeprefix(_SCHEMA)] if "$ref" in schema else schema


def _complete(document: Document, routes: dict[str | None, Any]) -> None:
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError", "Upload"):
        schemas.pop(unused, None)
    problem = Problem.model_json_schema(ref_template=f"{_SCHEMA}{{model}}")
    schemas |= problem.pop("$defs") | {Problem.__name__: problem}
    for model in _models(RequestBody, ResponseBody):
        if model.__name__ in schemas:  # FastAPI omits nulls from examples
            schemas[model.__name__]["examples"] = [example_of(model)]
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["responses"] = {str(status): response for status, response in problems(*_PROBLEMS).items()}
    document["components"]["securitySchemes"] = _CREDENTIALS
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    for method, path, operation in operations(document):
        name = operation["operationId"]
        operation["x-callers"] = callers = _callers_of(routes[name])
        if callers != ANYONE:
            operation["security"] = [{name: []} for name in _CREDENTIALS]
        if JSON in operation.get("requestBody", {"content": ()})["content"]:
            _add_forms(operation["requestBody"]["content"], routes[name], schemas)
        _add_problems(method, path, operation)
        for status, response in operation["responses"].items():
            if response.get("description") == "Successful Response":
                response["description"] = f"{HTTPStatus(int(status)).phrase}."


def _models(*bases: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield all schemas that derive from these."""
    for base in bases:
        for model in base.__subclasses__():
            yield model
            yield from _models(model)


def _callers_of(route: APIRoute) -> str:
    calls = (dependency.call for dependency in route.dependant.dependencies)
    return next((call.callers for call in calls if isinstance(call, CallerGuard)), ANYONE)


def _add_forms(content: Document, route: BodyRoute, schemas: Document) -> None:
    """Add the forms that a body may have besides JSON."""
    content |= dict.fromkeys(route.media_types, content[JSON])
    if MULTIPART in content:
        content[MULTIPART] = {"schema": _with_files(schemas[route.model.__name__])}


def _with_files(schema: Any) -> Any:
    """Convert the schema of a JSON body to that of a form, in which photos are files and not base64."""
    if isinstance(schema, dict):
        if schema.get("contentEncoding") == "base64":
            return {name: part for name, part in schema.items() if name != "contentEncoding"} | {"format": "binary"}
        return {name: _with_files(part) for name, part in schema.items() if name != "examples"}
    return [_with_files(part) for part in schema] if isinstance(schema, list) else schema


def _add_problems(method: str, path: str, operation: Document) -> None:
    """Add the problems that follow from an operation's method, callers, body, parameters and path."""
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own has another schema
    statuses = list(_ALWAYS)
    if method != "GET" and operation["operationId"] not in _READ_BY_POST:
        statuses.append(421)
    if operation["x-callers"] != ANYONE:
        statuses += _WITH_CALLERS
    if "requestBody" in operation:
        statuses += _WITH_BODY
    parameters = [parameter["name"].lower() for parameter in operation.get("parameters", [])]
    if parameters:
        statuses.append(422)
    if "{" in path:
        statuses.append(404)
    statuses += [_WITH_PARAMETER[name] for name in parameters if name in _WITH_PARAMETER]
    statuses += [int(status) for status, response in responses.items() if response.get("content") == _PROBLEM]
    references = {str(status): {"$ref": f"{_RESPONSE}{status}"} for status in statuses}
    others = {status: response for status, response in responses.items() if response.get("content") != _PROBLEM}
    operation["responses"] = dict(sorted((references | others).items()))
