"""The wire format: query strings, errors, and JSON as CompreFace writes it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.responses import Response

_PARAMETERS: Final = "limit|prediction_count|det_prob_threshold|face_plugins|status|detect_faces|subject|page|size|sort"
_SEPARATORS: Final = re.compile(rf"[?&]+(?=(?:{_PARAMETERS})=)")
"""The JavaScript SDK separates parameters by question marks, which may also be a part of a subject's name."""
_BOOLEANS: Final = {
    "true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False,
}  # fmt: skip
"""The texts that Spring converts to booleans, in lower case."""
_MAX_INT: Final = 2**31 - 1
_MAX_EMBEDDINGS: Final = 1_000
_MAX_NUMBERS: Final = 10_000
"""Of an embedding, before it is known how many the model has."""
_UNDEFINED: Final = "Something went wrong, please try again"


class CompreFaceError(Exception):
    """An error with CompreFace's status, code and message."""

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}

    def response(self) -> Response:
        """Return the response to the client."""
        return answer({"message": self.message, "code": self.code}, self.status, self.headers)


def undefined(status: int = 400, headers: Mapping[str, str] | None = None) -> CompreFaceError:
    """Return the error for everything that has no error of its own."""
    return CompreFaceError(status, 0, _UNDEFINED, headers)


def invalid(message: str) -> CompreFaceError:
    """Return the error for an argument that is not valid."""
    return CompreFaceError(400, 26, message)


def no_face() -> CompreFaceError:
    """Return the error for an image without a face. CompreFace answers a broken image in the same way."""
    return CompreFaceError(400, 28, "No face is found in the given image")


def failed(reason: str, status: int, headers: Mapping[str, str] | None = None) -> CompreFaceError:
    """Return the error for a failure of the service."""
    return CompreFaceError(status, 41, f"Error during synchronization between servers: {reason}", headers)


def unknown_subject(name: str) -> CompreFaceError:
    """Return the error for the name of a subject that does not exist."""
    return CompreFaceError(404, 42, f"Subject {name} not found")


def unknown_image() -> CompreFaceError:
    """Return the error for the id of an image that a face is compared with."""
    return CompreFaceError(404, 44, "Image Id is incorrect")


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with pretty-printed JSON."""
    return Response("".join(_pretty(value, "")), status, dict(headers or {}), "application/json")


def _pretty(value: Any, indent: str) -> Iterator[str]:
    """Write JSON as Jackson does with `indent-output`: objects on several lines, lists on one. None is left out."""
    if isinstance(value, Mapping):
        fields = [(name, one) for name, one in value.items() if one is not None]
        for number, (name, one) in enumerate(fields):
            yield "{\n" if number == 0 else ",\n"
            yield f"{indent}  {json.dumps(name, ensure_ascii=False)} : "
            yield from _pretty(one, indent + "  ")
        yield f"\n{indent}}}" if fields else "{ }"
    elif isinstance(value, list | tuple):
        if value and isinstance(value[0], float):  # an embedding
            yield f"[ {', '.join(map(repr, value))} ]"
            return
        for number, one in enumerate(value):
            yield "[ " if number == 0 else ", "
            yield from _pretty(one, indent)
        yield " ]" if value else "[ ]"
    else:
        # Without escapes of letters, as Jackson writes them. A lone surrogate is not text in UTF-8.
        yield json.dumps(value, ensure_ascii=isinstance(value, str) and not _is_text(value), allow_nan=False)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


class Query:
    """The parameters of a request."""

    def __init__(self, query_string: bytes) -> None:
        raw = query_string.decode("utf-8", "replace").lstrip("?&")
        found = parse_qsl(_SEPARATORS.sub("&", raw), keep_blank_values=True, max_num_fields=100)
        self._values: dict[str, list[str]] = {}
        for name, value in found:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """Return a text. Repeated values are joined by commas, as Spring does. None if the parameter is missing."""
        values = self._values.get(name)
        if values is not None and any("\0" in value for value in values):
            raise undefined()
        return None if values is None else ",".join(values)

    def integer(self, name: str, default: int) -> int:
        """Return an integer of 32 bits."""
        text = self._first(name)
        if not text:
            return default
        if re.fullmatch(r"[+-]?[0-9]{1,10}", text) is None or not -_MAX_INT <= int(text) <= _MAX_INT:
            raise undefined()
        return int(text)

    def boolean(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        text = self._first(name)
        if not text:
            return default
        if text.strip().lower() not in _BOOLEANS:
            raise undefined()
        return _BOOLEANS[text.strip().lower()]

    def fraction(self, name: str) -> float | None:
        """Return a number from 0 to 1. CompreFace's answer to another number is the one to an image without a face."""
        text = self._first(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise undefined() from None
        if not 0 <= value <= 1:
            raise no_face()
        return value

    def _first(self, name: str) -> str | None:
        """Return the first of repeated values, which Spring converts to a number or a boolean."""
        return None if self.text(name) is None else self._values[name][0]

    def slugs(self, name: str) -> frozenset[str]:
        """Return a list that is separated by commas."""
        return frozenset(slug.strip() for slug in (self.text(name) or "").split(","))


def image_id(text: str) -> uuid.UUID:
    """Read the id of an image."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise undefined() from None


def subject_name(value: Any) -> str:
    """Check the name of a new subject in JSON."""
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise undefined()
    if value is None or not value.strip():
        raise invalid("Subject name cannot be empty")
    if len(value) > 50:
        raise invalid("Subject name size must be between 1 and 50")
    if re.search(r"[;/\\]", value):
        raise CompreFaceError(400, 36, "The name cannot contain the following special characters: ';', '/', '\\'")
    return value


def embeddings_of(value: Any, field: str) -> list[list[float]]:
    """Check a list of embeddings in JSON."""
    if value is None or value == []:
        raise CompreFaceError(400, 5, f"Field {field} cannot be empty")
    if not isinstance(value, list) or not all(_is_embedding(one) for one in value):
        raise undefined()
    if len(value) > _MAX_EMBEDDINGS:
        raise invalid(f"There can be at most {_MAX_EMBEDDINGS:,} embeddings, got {len(value):,}; ")
    try:
        return [[float(number) for number in one] for one in value]
    except OverflowError:
        raise undefined() from None


def _is_embedding(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) <= _MAX_NUMBERS and all(type(number) in (int, float) for number in value)
    )
