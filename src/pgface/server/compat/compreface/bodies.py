"""The bodies of requests: images as files of a form, or in base64 in JSON, on the same path."""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from typing import Any, Final

import pydantic_core
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from pgface.errors import RequestError
from pgface.faces.photo import Upload
from pgface.server import forms
from pgface.server.bodies import JSON, MULTIPART, media_type_of
from pgface.server.compat.compreface.wire import CompreFaceError, undefined
from pgface.server.schemas.base import UNNAMED
from pgface.settings import MEBI

MAX_FILE_BYTES: Final = 5 * MEBI
MAX_REQUEST_BYTES: Final = 10 * MEBI
"""CompreFace's own limits."""
MAX_TEXT_BYTES: Final = MEBI
"""The limit of a body without images and embeddings: a name, or about 26,000 ids."""
_MAX_BRACKETS: Final = 2_000
_MAX_QUOTES: Final = 100_000
"""No request needs more. Millions of lists, objects or texts in 10 MB of JSON would take 50 times as much memory."""
_EXTENSIONS: Final = frozenset({"tif", "tiff", "jpg", "jpeg", "png", "bmp", "ico", "gif", "webp"})
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_SPACES: Final = b" \t\r\n"
_JAVA_FIELDS: Final = {"file": "content", "source_image": "sourceImageBase64", "target_image": "targetImageBase64"}
"""The names of the JSON fields in CompreFace's code, which its errors contain."""


async def read_images(request: Request, names: Sequence[str]) -> list[Upload]:
    """Read the images with these names.

    Raises:
        CompreFaceError: an image is missing, too large, or not base64, or the name of a file is not that of an image.
        RequestError: the body is too long or too slow.

    """
    media_type = media_type_of(request)
    if media_type == JSON:
        body = await read_json(request)
        if not isinstance(body, dict):
            raise undefined()
        return await run_in_threadpool(_decoded_images, body, names)
    if media_type != MULTIPART:
        raise undefined(415)
    try:
        fields = await forms.form_fields(request.headers["content-type"], request.stream(), names, MAX_REQUEST_BYTES)
    except RequestError as error:
        if type(error) is not RequestError:
            raise
        raise undefined() from None
    return [_file(fields, name) for name in names]


async def read_json(request: Request) -> Any:
    """Read a body of JSON.

    Raises:
        CompreFaceError: it is not JSON.
        RequestError: the body is too long or too slow.

    """
    if media_type_of(request) != JSON:
        raise undefined(415)
    data = b"".join([chunk async for chunk in request.stream()])
    if data.count(b"[") + data.count(b"{") > _MAX_BRACKETS or data.count(b'"') > _MAX_QUOTES:
        raise undefined()
    try:
        return await run_in_threadpool(_parsed, data)
    except ValueError:
        raise undefined() from None


def _parsed(data: bytes) -> Any:
    encoding = json.detect_encoding(data)  # clients on Windows send UTF-16, or a byte order mark
    return pydantic_core.from_json(data if encoding == "utf-8" else data.decode(encoding), allow_inf_nan=False)


def _file(fields: dict[str, list[Any]], name: str) -> Upload:
    if name not in fields:
        raise CompreFaceError(400, 34, f"Required part {name} is missing")
    image = fields[name][0]
    if not isinstance(image, Upload):  # a part without the name of a file
        image = Upload("", b"")
    if image.name.rpartition(".")[2].lower() not in _EXTENSIONS or "." not in image.name:
        name = "" if image.name == UNNAMED else image.name
        raise CompreFaceError(400, 21, f"File [{name}] has an unavailable extension")
    return _within_limit(image)


def _decoded_images(body: dict[str, Any], names: Sequence[str]) -> list[Upload]:
    return [_within_limit(Upload(name, _decoded(body.get(name), name))) for name in names]


def _decoded(text: Any, name: str) -> bytes:
    if text is None:
        raise CompreFaceError(400, 5, f"Field {_JAVA_FIELDS[name]} cannot be empty")
    if not isinstance(text, str):
        raise undefined()
    try:
        data = text.encode("ascii").translate(_STANDARD_ALPHABET, _SPACES).rstrip(b"=")
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError:
        raise CompreFaceError(400, 21, "Provided value is not Base64") from None


def _within_limit(image: Upload) -> Upload:
    if len(image.data) > MAX_FILE_BYTES:
        raise undefined()
    return image
