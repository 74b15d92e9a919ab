"""Bodies with photos: forms, or JSON with the photos in base64; read after the caller is known, and within limits.

Nothing of a body is written to disk. A body that is too large is refused at its first byte too many, or at its header.
"""

from __future__ import annotations

import asyncio
import binascii
import codecs
import hashlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl, unquote

import pydantic_core
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, WithJsonSchema
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from pgface.errors import MediaTypeError, RequestError, RequestTooLargeError, RequestTooSlowError
from pgface.faces.photo import Upload
from pgface.server import forms
from pgface.server.forms import UNNAMED, form_fields
from pgface.server.limits import Share, name_of_asker
from pgface.server.service import service_of

_FORM: Final = forms.MEDIA_TYPE
_JSON: Final = "application/json"
_PLAIN_FORM: Final = "application/x-www-form-urlencoded"
_DIGITS: Final = 15
_BASE64: Final = bytes.maketrans(b"-_", b"+/")
"""From the alphabet for URLs (RFC 4648, section 5) to the usual one."""
_SPACES: Final = b" \t\r\n"

SMALL: Final = 64 * 1024
"""Bytes of a body without photos."""


def _as_upload(value: object) -> Upload:
    if isinstance(value, Upload):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a file, or its bytes in base64")  # noqa: TRY004 - pydantic wants this one
    return Upload(UNNAMED, _decoded(value))


def _decoded(text: str) -> bytes:
    """The bytes in base64: with line breaks (RFC 2045), of the alphabet for URLs, without padding, or as a data URL."""
    if text[:5].lower() == "data:":
        media_type, _, text = text.partition(",")
        if not media_type.lower().rstrip().endswith(";base64"):
            raise ValueError("must be in base64, and this data URL does not say `;base64`")
        text = unquote(text)
    try:
        data = text.encode("ascii").translate(_BASE64, _SPACES).rstrip(b"=")
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError:  # UnicodeEncodeError and binascii.Error are
        raise ValueError("must be a file, or its bytes in base64; it is neither") from None


PhotoField = Annotated[
    Upload, PlainValidator(_as_upload), WithJsonSchema({"type": "string", "contentEncoding": "base64"})
]
"""A photo's file."""


class Body(BaseModel):
    """What a body holds; fields that there are not are refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def fingerprint(self) -> str:
        """By which a repeated request is known to be the same; forms have another boundary each time."""
        digest = hashlib.sha256()
        for name in sorted(type(self).model_fields):
            value = getattr(self, name)
            for one in value if isinstance(value, list) else [value]:
                data = one.name.encode() + b"\0" + one.data if isinstance(one, Upload) else repr(one).encode()
                digest.update(f"{name} {len(data)} ".encode() + data)
        return digest.hexdigest()


B = TypeVar("B", bound=Body)


def body(kind: type[B], *, photos: int = 0, most_bytes: int | None = None, plain_form: bool = False) -> Any:
    """The body of a request, as a dependency.

    Args:
        kind: what it holds.
        photos: how many photos at most; the limit of bytes grows with it.
        most_bytes: the limit of bytes where there are many small pictures.
        plain_form: whether it may also be a form without files (application/x-www-form-urlencoded).

    """
    other = _FORM if photos or most_bytes else _PLAIN_FORM if plain_form else None

    async def read(request: Request) -> AsyncIterator[B]:
        service = service_of(request)
        media_type = _media_type(request, other)
        data_bytes = most_bytes or photos * service.settings.max_photo_bytes
        limit = SMALL + (data_bytes * 4 // 3 + 4 if media_type == _JSON else data_bytes)
        _refuse_announced(request, limit)
        known = getattr(request.state, "caller", None) is not None
        with (service.bodies if known else service.bodies_of_strangers).share(name_of_asker()) as share:
            try:
                async with asyncio.timeout(service.settings.request_timeout):
                    fields = await _fields(request, kind, media_type, _Limits(limit, share))
            except TimeoutError:
                raise RequestTooSlowError from None
            except ClientDisconnect:
                raise RequestError("The connection was closed before the body was there.") from None
            # Decoding base64 and hashing take long for large bodies, and the event loop must not wait.
            check = partial(_checked, kind, fields, media_type == _JSON, "idempotency-key" in request.headers)
            asked, request.state.fingerprint = await service.ask(check)
            yield asked

    return Depends(read)


def _media_type(request: Request, other: str | None) -> str:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    accepted = [_JSON, *([other] if other else [])]
    if given not in accepted:
        raise MediaTypeError(f"The body must be {' or '.join(accepted)}.")
    return given


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a body may cost."""

    most_bytes: int
    share: Share


async def _fields(request: Request, kind: type[Body], media_type: str, limits: _Limits) -> dict[str, Any]:
    if media_type == _FORM:
        header = request.headers.get("content-type", "")
        files = {name for name in kind.model_fields if _holds_photos(kind, name)}
        return _taken(kind, await form_fields(header, _within(request, limits), files, limits.most_bytes))
    data = b"".join([chunk async for chunk in _within(request, limits)])
    return await run_in_threadpool(_json_fields, data) if media_type == _JSON else _plain_form_fields(data, kind)


def _refuse_announced(request: Request, limit: int) -> None:
    """Refuse what is going to be too large, before any of it is read."""
    announced = request.headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise RequestError("The header Content-Length is not a number.")
    if len(announced) > _DIGITS or int(announced) > limit:
        raise RequestTooLargeError(f"The body is longer than the limit of {limit:,} bytes.")


async def _within(request: Request, limits: _Limits) -> AsyncGenerator[bytes, None]:
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > limits.most_bytes:
            raise RequestTooLargeError(f"The body is longer than the limit of {limits.most_bytes:,} bytes.")
        # As it comes, and not as it is announced: who announces much and sends nothing keeps nobody else out.
        limits.share.take(len(chunk))
        yield chunk


def _json_fields(data: bytes) -> dict[str, Any]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:2]:
        raise RequestError("The body is JSON in UTF-16 or UTF-32; send it in UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        fields = pydantic_core.from_json(data)
    except ValueError:
        raise RequestError("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise RequestError("The body must be a JSON object.")
    return fields


def _plain_form_fields(data: bytes, kind: type[Body]) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, max_num_fields=forms.MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise RequestError("The body is not a form.") from None
    found: dict[str, list[Any]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return _taken(kind, found)


def _taken(kind: type[Body], found: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: values if _takes_several(kind, name) else _only(name, values) for name, values in found.items()}


def _only(name: str, values: list[Any]) -> Any:
    if len(values) > 1:
        raise RequestError(f"The field {name[:80]!r} is there more than once.")
    return values[0]


def _holds_photos(kind: type[Body], name: str) -> bool:
    field = kind.model_fields[name]
    kinds = {field.annotation, *get_args(field.annotation), *map(_bare, get_args(field.annotation))}
    return Upload in kinds


def _bare(annotation: Any) -> Any:
    """Without what `Annotated` adds."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _takes_several(kind: type[Body], name: str) -> bool:
    field = kind.model_fields.get(name)
    return field is not None and any(
        get_origin(part) is list for part in (field.annotation, *get_args(field.annotation))
    )


def _checked(kind: type[B], fields: dict[str, Any], strict: bool, repeatable: bool) -> tuple[B, str]:
    """The body, and its fingerprint if the request may be repeated."""
    asked = _validated(kind, fields, strict=strict)
    return asked, asked.fingerprint() if repeatable else ""


def _validated(kind: type[B], fields: dict[str, Any], *, strict: bool) -> B:
    """Of JSON the types as they are documented; in a form everything is text."""
    try:
        return kind.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None


def described(
    kind: type[Body], example: dict[str, Any], *, photos: bool = True, plain_form: bool = False
) -> dict[str, Any]:
    """The body in the OpenAPI document, for `openapi_extra`: FastAPI does not read it, and so does not know it."""
    content = {_JSON: {"schema": _schema(kind), "example": example}}
    if plain_form:
        content[_PLAIN_FORM] = {"schema": _schema(kind)}
    elif photos:
        content[_FORM] = {"schema": _as_form(_schema(kind))}
    return {"requestBody": {"required": True, "content": content}}


def _schema(kind: type[Body]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    if "$defs" in schema:
        raise NotImplementedError("bodies are flat")
    return schema


def _as_form(value: Any) -> Any:
    """The same fields in a form, where photos are files and not base64."""
    if isinstance(value, dict):
        if value.get("contentEncoding") == "base64":
            return {name: part for name, part in value.items() if name != "contentEncoding"} | {"format": "binary"}
        return {name: _as_form(part) for name, part in value.items()}
    return [_as_form(part) for part in value] if isinstance(value, list) else value
