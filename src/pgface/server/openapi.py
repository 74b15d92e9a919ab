"""The OpenAPI document: what FastAPI knows, and what it cannot know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from pgface.server.api.examples import ANSWERS
from pgface.server.errors import MEDIA_TYPE, Problem

Document = dict[str, Any]

EVERYBODY: Final = "everybody"

_SCHEMA: Final = "#/components/schemas/"
_RESPONSE: Final = "#/components/responses/"
_TAGS: Final = {
    "users": "People of the gallery.",
    "photos": "Enrolling, and the photos that are enrolled.",
    "faces": "Questions about faces. Nothing of a photo is kept.",
    "auth": "Registering, logging in and out, one's own account, and what other applications ask of a token.",
    "administration": "Status, keys of programs, and the audit log.",
    "operations": "For what looks after the service.",
}
_PROBLEMS: Final = {
    "400": "The cursor is not one that this list gave.",
    "401": "Nothing, or nothing known, says who calls; or what was given to log in is not right.",
    "403": "This caller may not do it.",
    "404": "There is no such user, photo, login or key.",
    "408": "The body did not arrive in time.",
    "409": "It is there already, or a request with this Idempotency-Key is under way.",
    "413": "The body or the photo is too large.",
    "415": "The body is of another kind, or the photo is none.",
    "422": "The request, or a photo in it, cannot be used.",
    "429": "There were too many failed attempts. `Retry-After` says how many seconds to wait.",
    "500": "Something went wrong here; the log knows what, by the request's id.",
    "503": "There is too much to do, or the database or the model is away; `Retry-After` says when to try again.",
}
_OF_EVERY_OPERATION: Final = ("500", "503")
_OF_CREDENTIALS: Final = ("401", "403")
_OF_BODIES: Final = ("408", "413", "415", "422")
_OF_PARAMETERS: Final = {"cursor": "400", "idempotency-key": "409"}
_OF_OPERATIONS: Final = {
    "register": ("403",),
    "log_in": ("401", "429"),
    "challenge": ("401", "429"),
    "hint": ("401",),
    "log_in_by_face": ("401", "429"),
    "change_password": ("429",),
    "erase_me": ("429",),
    "verify": ("404",),
}


def completed(app: FastAPI, routers: Iterable[APIRouter]) -> Callable[[], Document]:
    """FastAPI's document with problems in place of its own errors, with examples, and with who may call.

    Args:
        app: the application.
        routers: those with the operations of the API.

    """
    callers = {route.name: _callers(route) for router in routers for route in _routes(router)}

    def document() -> Document:
        if app.openapi_schema is None:
            _complete(FastAPI.openapi(app), callers)
        assert app.openapi_schema is not None  # noqa: S101 - FastAPI keeps it
        return app.openapi_schema

    return document


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Method, path and description of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _routes(router: APIRouter) -> list[APIRoute]:
    return [route for route in router.routes if isinstance(route, APIRoute)]


def _callers(route: APIRoute) -> str:
    """As the dependency says that settles it; see `callers`."""
    said = (getattr(dependency.call, "permitted", None) for dependency in route.dependant.dependencies)
    return next((callers for callers in said if callers), EVERYBODY)


def _complete(document: Document, callers: dict[str, str]) -> None:
    schemas = document["components"]["schemas"]
    for theirs in ("HTTPValidationError", "ValidationError"):
        schemas.pop(theirs, None)
    problem = Problem.model_json_schema(ref_template=f"{_SCHEMA}{{model}}")
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    document["components"]["responses"] = {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMA}Problem"}}}}
        for status, text in _PROBLEMS.items()
    }
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    for _, path, operation in operations(document):
        operation["x-callers"] = callers[operation["operationId"]]
        _add_problems(path, operation)
        for status, response in operation["responses"].items():
            _add_example(status, response)


def _add_problems(path: str, operation: Document) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own, of another form
    may_be = list(_OF_EVERY_OPERATION)
    if operation["x-callers"] != EVERYBODY:
        may_be += _OF_CREDENTIALS
    if "requestBody" in operation:
        may_be += _OF_BODIES
    parameters = [parameter["name"].lower() for parameter in operation.get("parameters", [])]
    if parameters:
        may_be.append("422")
    if "{" in path:
        may_be.append("404")
    may_be += [_OF_PARAMETERS[name] for name in parameters if name in _OF_PARAMETERS]
    may_be += _OF_OPERATIONS.get(operation["operationId"], ())
    for status in may_be:
        responses.setdefault(status, {"$ref": f"{_RESPONSE}{status}"})
    operation["responses"] = dict(sorted(responses.items()))


def _add_example(status: str, response: Document) -> None:
    if not status.isdigit() or "$ref" in response:
        return
    if response.get("description") == "Successful Response":
        response["description"] = f"{HTTPStatus(int(status)).phrase}."
    content = response.get("content", {}).get("application/json")
    if content is not None:
        example = ANSWERS[content["schema"]["$ref"].removeprefix(_SCHEMA)]
        changed = {"ready": False, "database": False, "schema_current": False} if status == "503" else {}
        content["example"] = example | changed
