"""Bodies with photos: forms, or JSON with the photos in base64; read after the caller is known, and within limits.

Nothing of a body is written to disk. A body that is too large is refused at its first byte too many, or at its header.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import pydantic_core
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, WithJsonSchema
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from pgface.errors import MediaTypeError, RequestError, RequestTooLargeError, RequestTooSlowError
from pgface.faces.image import Upload
from pgface.server.inference import Share, name_of_asker
from pgface.server.service import service_of
from pgface.settings import MEBI
from pgface.texts import cleaned, is_visible

_FORM: Final = "multipart/form-data"
_JSON: Final = "application/json"
_PLAIN_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 32
_MOST_FILES: Final = 101
"""One more than frames of a camera, so that it is the field that is said to have too many."""
_MOST_TEXT: Final = 64 * 1024
_MOST_FILE_NAME: Final = 200
_DIGITS: Final = 15
_UNNAMED: Final = "photo"
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046, section 5.1.1."""

SMALL: Final = 64 * 1024
"""Bytes of a body without photos."""


def _as_upload(value: object) -> Upload:
    if isinstance(value, Upload):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a file, or its bytes in base64")  # noqa: TRY004 - pydantic wants this one
    data = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return Upload(_UNNAMED, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None


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
        return await _form_fields(request, kind, limits)
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
    try:
        fields = pydantic_core.from_json(data)
    except ValueError:
        raise RequestError("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise RequestError("The body must be a JSON object.")
    return fields


def _plain_form_fields(data: bytes, kind: type[Body]) -> dict[str, Any]:
    try:
        pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise RequestError("The body is not a form.") from None
    found: dict[str, list[Any]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return _taken(kind, found)


async def _form_fields(request: Request, kind: type[Body], limits: _Limits) -> dict[str, Any]:
    parser = _WholeForm(
        _form_header(request),
        _within(request, limits),
        max_files=_MOST_FILES,
        max_fields=_MOST_FIELDS,
        max_part_size=_MOST_TEXT,
    )
    parser.spool_max_size = limits.most_bytes + MEBI  # never to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(f"The body is not a form: {error.message.rstrip('.')}.") from None
    parser.require_end()
    try:
        found: dict[str, list[Any]] = defaultdict(list)
        for name, value in form.multi_items():
            found[name].append(await _upload(value) if isinstance(value, UploadFile) else value)
    finally:
        await form.close()
    return _taken(kind, found)


class _WholeForm(MultiPartParser):
    """Starlette's parser, which would take a form that breaks off for one that is whole."""

    _ended = False

    def on_end(self) -> None:
        self._ended = True

    def require_end(self) -> None:
        if not self._ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise RequestError("The body is not a form: it breaks off.")


def _form_header(request: Request) -> Headers:
    """Only the boundary: of the character sets that a client can name, some take very long, and some give no text."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise RequestError("The header Content-Type has no boundary of the form's parts.")
    return Headers({"content-type": f'{_FORM}; boundary="{boundary}"'})


async def _upload(file: UploadFile) -> Upload:
    return Upload(file_name(file.filename), await file.read())


def file_name(given: str | None) -> str:
    """A file's name without its folders, of characters that can be shown."""
    name = re.split(r"[/\\]", given or "")[-1]
    kept = "".join(sign for sign in cleaned(name) if is_visible(sign))[-_MOST_FILE_NAME:]
    return kept.strip() or _UNNAMED


def _taken(kind: type[Body], found: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: values if _takes_several(kind, name) else _only(name, values) for name, values in found.items()}


def _only(name: str, values: list[Any]) -> Any:
    if len(values) > 1:
        raise RequestError(f"The field {name[:80]!r} is there more than once.")
    return values[0]


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
