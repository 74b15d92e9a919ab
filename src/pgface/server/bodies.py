"""The bodies of requests: JSON with photos in base64, or forms, read within limits after the caller is known.

FastAPI's own reading of a body comes before its dependencies, knows one media type for an operation, and has no limits.
So a body is a dependency here, which reads `Request.stream()`. Nothing of it is written to disk.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import pydantic_core
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from pgface.errors import MediaTypeError, RequestError, RequestTooLargeError, RequestTooSlowError
from pgface.server import forms
from pgface.server.forms import form_fields
from pgface.server.limits import ByteLease, requester_name
from pgface.server.schemas.base import RequestBody
from pgface.server.service import Service, service_of

JSON: Final = "application/json"
MULTIPART: Final = forms.MEDIA_TYPE
URL_ENCODED: Final = "application/x-www-form-urlencoded"
_MAX_LENGTH_DIGITS: Final = 15

MAX_FIELD_BYTES: Final = 64 * 1024
"""The limit of a body without its files."""

B = TypeVar("B", bound=RequestBody)


@dataclass(frozen=True, slots=True)
class BodyFormat:
    """What a body holds, and the media types in which it may come. JSON always may."""

    model: type[RequestBody]
    media_types: tuple[str, ...]

    def max_bytes(self, media_type: str, service: Service) -> int:
        """The limit of a body in a media type."""
        of_photos = len(self.model.photo_fields()) * service.settings.max_photo_bytes
        files = of_photos if self.model.max_file_bytes is None else self.model.max_file_bytes
        return MAX_FIELD_BYTES + (files * 4 // 3 + 4 if media_type == JSON else files)


def body(model: type[B], *, url_encoded: bool = False) -> Any:
    """The body of a request, as a dependency.

    Args:
        model: what the body holds. One with photos may come as a form with files.
        url_encoded: whether the body may come as a form without files.

    """
    other = (MULTIPART,) if model.photo_fields() else (URL_ENCODED,) if url_encoded else ()
    body_format = BodyFormat(model, (JSON, *other))

    async def read(request: Request) -> AsyncIterator[B]:
        service = service_of(request)
        media_type = _media_type(request, body_format)
        max_bytes = body_format.max_bytes(media_type, service)
        _refuse_announced(request, max_bytes)
        known = getattr(request.state, "caller", None) is not None
        budget = service.body_budget if known else service.anonymous_body_budget
        with budget.lease(requester_name()) as lease:
            try:
                async with asyncio.timeout(service.settings.request_timeout):
                    fields = await _fields(request, model, media_type, _bounded(request, max_bytes, lease), max_bytes)
            except TimeoutError:
                raise RequestTooSlowError from None
            except ClientDisconnect:
                raise RequestError("The connection was closed before the body had arrived.") from None
            # Decoding base64 and hashing take long for large bodies, and the event loop must not wait.
            check = partial(_checked, model, fields, media_type == JSON, "idempotency-key" in request.headers)
            asked, request.state.fingerprint = await service.run_db(check)
            yield asked

    read.body_format = body_format  # type: ignore[attr-defined] # for the OpenAPI document
    return Depends(read)


def _media_type(request: Request, body_format: BodyFormat) -> str:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in body_format.media_types:
        raise MediaTypeError(f"The body must be {' or '.join(body_format.media_types)}.")
    return given


def _refuse_announced(request: Request, max_bytes: int) -> None:
    """Refuse a body that is too large before any of it is read."""
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise RequestError("The header Content-Length is not a number.")
    if len(announced) > _MAX_LENGTH_DIGITS or int(announced) > max_bytes:
        raise RequestTooLargeError(f"The body is longer than the limit of {max_bytes:,} bytes.")


async def _bounded(request: Request, max_bytes: int, lease: ByteLease) -> AsyncGenerator[bytes, None]:
    """The chunks of a body, up to the limit."""
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > max_bytes:
            raise RequestTooLargeError(f"The body is longer than the limit of {max_bytes:,} bytes.")
        # Counted as it comes: a client that announces much and sends nothing takes nothing from others.
        lease.take(len(chunk))
        yield chunk


async def _fields(
    request: Request, model: type[RequestBody], media_type: str, chunks: AsyncGenerator[bytes, None], max_bytes: int
) -> dict[str, Any]:
    if media_type == MULTIPART:
        header = request.headers.get("content-type", "")
        return _unrepeated(model, await form_fields(header, chunks, model.photo_fields(), max_bytes))
    data = b"".join([chunk async for chunk in chunks])
    return await run_in_threadpool(_json_fields, data) if media_type == JSON else _url_encoded_fields(data, model)


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
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, max_num_fields=forms.MAX_FIELDS, errors="strict"
        )
    except ValueError:
        raise RequestError("The body is not a form.") from None
    found: dict[str, list[Any]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return _unrepeated(model, found)


def _unrepeated(model: type[RequestBody], found: dict[str, list[Any]]) -> dict[str, Any]:
    """The fields of a form. Only those that are lists may be repeated."""
    for name, values in found.items():
        if len(values) > 1 and name not in model.list_fields():
            raise RequestError(f"The field {name[:80]!r} is there more than once.")
    return {name: values if name in model.list_fields() else values[0] for name, values in found.items()}


def _checked(model: type[B], fields: dict[str, Any], strict: bool, repeatable: bool) -> tuple[B, str]:
    """The body, and its fingerprint if the request may be repeated.

    JSON must have the documented types. In a form every value is text.
    """
    try:
        asked = model.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None
    return asked, asked.fingerprint() if repeatable else ""
