"""The bodies of requests: JSON with photos in base64, or forms. An endpoint declares one model for both.

FastAPI accepts one media type for an operation, and validates a body in the event loop. So a route reads the body here,
validates it in a thread, and passes the model to FastAPI. `request_limits` limits what is read. No file is written.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Coroutine, Mapping
from itertools import chain
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import parse_qs

import pydantic_core
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from pgface.errors import RequestError
from pgface.faces.photo import Upload
from pgface.server import forms
from pgface.server.schemas.base import RequestBody

JSON: Final = "application/json"
MULTIPART: Final = forms.MEDIA_TYPE
URL_ENCODED: Final = "application/x-www-form-urlencoded"

_MAX_BYTES_IN_EVENT_LOOP: Final = 64 * 1024
"""Parsing, decoding and hashing this many takes less time than to wake a thread."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
P = ParamSpec("P")
T = TypeVar("T")


class BodyRoute(APIRoute):
    """A route that accepts its body as JSON, and a body with photos also as a form with files."""

    form_type: str | None = None
    """The media type of a form without photos."""

    @property
    def model(self) -> Any:
        """The model of the body, a subclass of `RequestBody`. None for a route without a body."""
        return self.body_field.field_info.annotation if self.body_field else None

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that the route accepts."""
        form_type = MULTIPART if self.model and self.model.photo_fields() else self.form_type
        return (JSON, form_type) if form_type else (JSON,)

    def get_route_handler(self) -> Handler:
        """Wrap the handler of FastAPI, so that it gets a body that was read and validated."""
        handle = super().get_route_handler()
        if (model := self.model) is None:
            return handle

        async def read_and_handle(request: Request) -> Response:
            return await handle(_ParsedRequest(request, await _read(request, model)))

        return read_and_handle


class FormRoute(BodyRoute):
    """A route that accepts its body also as a form without files."""

    form_type = URL_ENCODED


class _ParsedRequest(Request):
    """A request whose body is a model already. FastAPI passes the model to the endpoint."""

    def __init__(self, request: Request, read: RequestBody) -> None:
        super().__init__(request.scope, request.receive)
        self._read = read

    async def json(self) -> Any:
        """Return the model in place of parsed JSON."""
        return self._read

    body = json


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request, model: type[RequestBody]) -> RequestBody:
    limit: int = request.state.max_body_bytes  # a body without a limit is not read
    media_type = media_type_of(request)
    repeatable = "idempotency-key" in request.headers
    if media_type == MULTIPART:
        header = request.headers["content-type"]
        form = await forms.form_fields(header, request.stream(), model.photo_fields(), limit)
        fields = _unrepeated(model, form)
        # The bytes of a file are only hashed, and only if the request may be repeated.
        size = sum(len(one) for one in chain(*form.values()) if isinstance(one, str))
        if repeatable:
            size += sum(len(one.data) for one in chain(*form.values()) if isinstance(one, Upload))
    else:
        # Not `request.body()`, which keeps the bytes until the response was sent.
        data = b"".join([chunk async for chunk in request.stream()])
        size = len(data)
        json = media_type == JSON
        fields = await run_sized(size, _json_fields, data) if json else _url_encoded_fields(data, model)
    # Decoding base64 and hashing take long for large bodies.
    read, request.state.fingerprint = await run_sized(size, _validated, model, fields, media_type == JSON, repeatable)
    return read


async def run_sized(size: int, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work on this many bytes: in a thread if they are many, because the event loop must not wait."""
    if size <= _MAX_BYTES_IN_EVENT_LOOP:
        return work(*args, **kwargs)
    return await run_in_threadpool(work, *args, **kwargs)


def _json_fields(data: bytes) -> dict[str, Any]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:2]:
        raise RequestError("The body is JSON in UTF-16 or UTF-32. Send it in UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        fields = pydantic_core.from_json(data)
    except ValueError:
        raise RequestError("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise RequestError("The body must be a JSON object.")
    return fields


def _url_encoded_fields(data: bytes, model: type[RequestBody]) -> dict[str, Any]:
    try:
        fields = parse_qs(
            data.decode("ascii"), keep_blank_values=True, max_num_fields=forms.MAX_FIELDS, errors="strict"
        )
    except ValueError:
        raise RequestError("The body is not a form.") from None
    return _unrepeated(model, fields)


def _unrepeated(model: type[RequestBody], found: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return the fields of a form. Only fields that are lists may be repeated."""
    for name, values in found.items():
        if len(values) > 1 and name not in model.list_fields():
            raise RequestError(f"The field {name[:80]!r} was sent more than once.")
    return {name: values if name in model.list_fields() else values[0] for name, values in found.items()}


def _validated(
    model: type[RequestBody], fields: dict[str, Any], strict: bool, repeatable: bool
) -> tuple[RequestBody, str]:
    """Validate a body, and return it with its fingerprint if the request may be repeated.

    JSON must have the documented types (`strict`). In a form every value is text.
    """
    try:
        read = model.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None
    return read, read.fingerprint() if repeatable else ""
