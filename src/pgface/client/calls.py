"""Calls of the web service: what a request contains, and how its response is read. Both clients send them."""

from __future__ import annotations

import json
import os
import re
import stat
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, TypeAlias, TypeVar

import httpx
import pydantic_core
from pydantic import TypeAdapter, ValidationError

from pgface.client.errors import ClientError, unexpected
from pgface.client.models import Page
from pgface.errors import PhotoNotReadableError

PhotoSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A photo: the path of a file, the bytes of a file, or a file that is open for reading bytes."""

API: Final = "/api/v1"
GALLERIES: Final = f"{API}/galleries"

_UNNAMED: Final = "photo"
_GALLERY: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,255}")
"""The names of galleries. The names `.` and `..` have another meaning in a path."""
_SUCCESS: Final = frozenset({200, 201, 202, 204})
_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]{1,255}")

T = TypeVar("T")
Reader: TypeAlias = Callable[[httpx.Response], T]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call of one operation."""

    method: str
    path: str
    """The path below the path of the gallery, or below the path of the service if `of_gallery` is false."""
    read: Reader[T]
    """Reads a successful response."""
    query: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fields: Mapping[str, Any] | None = field(default=None, repr=False)
    """The fields of the body without its photos. None is the same as a missing field."""
    photos: Sequence[tuple[str, PhotoSource]] = field(default=(), repr=False)
    """The photos of the body, each with the name of its field."""
    upload: PhotoSource | None = field(default=None, repr=False)
    """A file that is the whole body."""
    idempotency_key: str | None = field(default=None, repr=False)
    changes_nothing: bool = False
    """Whether a call with a body only asks a question."""
    waits: float = 0
    """Seconds that the service may wait before it responds."""
    of_gallery: bool = True
    statuses: frozenset[int] = _SUCCESS
    """The statuses of a successful response."""

    @property
    def repeatable(self) -> bool:
        """Whether the call may be sent again if the service may have received it already."""
        return self.method == "GET" or self.changes_nothing or self.idempotency_key is not None

    def from_cursor(self, cursor: str) -> Call[T]:
        """Return the same call for another page."""
        return replace(self, query={**self.query, "cursor": cursor})

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `httpx.Client.request` besides the URL and the credentials. Reads the photos.

        Raises:
            PhotoNotReadableError: a photo cannot be read.
            ClientError: a value is not text, or not JSON.

        """
        found: dict[str, Any] = {"method": self.method, "params": _given(self.query), "headers": {}}
        if self.idempotency_key is not None:
            found["headers"]["Idempotency-Key"] = self.idempotency_key
        if self.photos:
            found["files"] = [(name, _file(photo)) for name, photo in self.photos]
            found["data"] = {name: _in_form(value) for name, value in _given(self.fields or {}).items()}
        elif self.upload is not None:
            found["content"] = _file(self.upload)[1]
            found["headers"]["Content-Type"] = "application/octet-stream"
        elif self.fields is not None:
            found["json"] = _given(self.fields)
        return found


def new_idempotency_key(given: str | None) -> str:
    """Return the caller's key, or a new random one.

    Raises:
        ClientError: the key is not one that a header can carry.

    """
    if given is None:
        return str(uuid.uuid4())
    if not _VISIBLE_ASCII.fullmatch(given):
        raise ClientError("An idempotency key must have 1 to 255 visible ASCII characters without spaces.")
    return given


def path_of_gallery(name: str) -> str:
    """Return the path of a gallery.

    Raises:
        ClientError: the name is not one of a gallery.

    """
    if not _GALLERY.fullmatch(name):
        raise ClientError("A gallery's name has 1 to 255 letters, digits and the characters `_.-`. Check the name.")
    return f"{GALLERIES}/{name}"


# Readers of responses


def reads(kind: type[T]) -> Reader[T]:
    """Make a reader for JSON of one type."""
    return lambda response: _validated(kind, response.content, response)


def reads_field(name: str, kind: type[T]) -> Reader[T]:
    """Make a reader for one field of the JSON."""
    return lambda response: _validated(kind, pydantic_core.to_json(_json(response).get(name)), response)


def reads_list(name: str, kind: type[T]) -> Reader[tuple[T, ...]]:
    """Make a reader for the list in a field of the JSON."""
    items: type[tuple[T, ...]] = tuple[kind, ...]  # type: ignore[valid-type]
    return reads_field(name, items)


def reads_page(name: str, kind: type[T]) -> Reader[Page[T]]:
    """Make a reader for a page of a list, which is in a field of the JSON."""
    items = reads_list(name, kind)
    return lambda response: Page(items(response), _json(response).get("next_cursor"))


def reads_jpeg(response: httpx.Response) -> bytes:
    """Read the file of a picture."""
    return _content(response, "image/jpeg")


def reads_text(response: httpx.Response) -> str:
    """Read the body as text."""
    return _content(response, "text/plain").decode(errors="replace")


def reads_nothing(response: httpx.Response) -> None:
    """Check that the service has done it. A proxy may respond with a page that says success."""
    if response.status_code != HTTPStatus.NO_CONTENT:
        raise unexpected(response)


def _content(response: httpx.Response, media_type: str) -> bytes:
    if response.headers.get("content-type", "").partition(";")[0] != media_type:
        raise unexpected(response)
    return response.content


def _json(response: httpx.Response) -> dict[str, Any]:
    return reads(dict[str, Any])(response)


def _validated(kind: Any, content: bytes, response: httpx.Response) -> Any:
    """Convert JSON to a value. It must have the exact types: `"yes"` is not true."""
    try:
        return _adapter(kind).validate_json(content, strict=True)
    except ValidationError:
        raise unexpected(response) from None  # the error quotes the response, which may contain a token


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# Bodies of requests


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not None, after a check that they can be sent."""
    found = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }
    try:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):  # the error quotes the value, which may be a password
        names = ", ".join(found)
        raise ClientError(f"A value cannot be sent, because it is not text or JSON. Check {names}.") from None
    return found


def _in_form(value: Any) -> Any:
    """Return the value of a field of a form. An object is sent as its JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _file(photo: PhotoSource) -> tuple[str, bytes]:
    """Return the name and the bytes of a photo."""
    if isinstance(photo, bytes | bytearray | memoryview):
        return _UNNAMED, bytes(photo)
    if isinstance(photo, str | os.PathLike):
        path = Path(photo)
        try:
            return _name_of(path), _bytes_of(path)
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise PhotoNotReadableError(
                f"{path.name}: the file cannot be read ({reason}). Give the path of a photo that you may read."
            ) from error
    data = photo.read() if hasattr(photo, "read") else None
    if not isinstance(data, bytes):
        raise PhotoNotReadableError("A photo must be a path, bytes, or a file that is open for reading bytes.")
    name = getattr(photo, "name", None)
    return _name_of(Path(name)) if isinstance(name, str) else _UNNAMED, data


def _bytes_of(path: Path) -> bytes:
    """Read a file. Reading a device or a pipe may have no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a file")
    return path.read_bytes()


def _name_of(path: Path) -> str:
    """Return the name of a file, with `?` for bytes that are not text."""
    return path.name.encode("utf-8", "replace").decode()
