"""Validates the body of a request against its shape, and decodes base64."""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any, Final

import pydantic_core

from pgface.server.compat.rekognition.errors import AwsError
from pgface.server.compat.rekognition.shapes import Blob, ListOf, MapOf, Number, Shape, Structure, Text

_SERIALIZATION: Final = "SerializationException"
_MAX_SHOWN: Final = 80
_MAX_LISTED: Final = 10
_MAX_MEMBERS: Final = 4096
"""The limit of a list for which the model has none. It is the largest limit in the model."""
_MAX_COMMAS: Final = 10_000
"""No request needs as many. Base64 has none, and the longest lists have 4,096 members."""
_SPACE: Final = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode's category Z in a regular expression."""


def parse(body: bytes, shape: Structure) -> dict[str, Any]:
    """Return the known members of a request. A member that is null counts as missing, and unknown ones are ignored.

    Raises:
        AwsError: the body is no JSON, or a member has another type, or is beyond a limit.

    """
    # Parsing millions of small values would take a second and half a gigabyte.
    if body.count(b",") > _MAX_COMMAS:
        raise AwsError(_SERIALIZATION, "The body has too many members.")
    try:
        value = pydantic_core.from_json(body or b"{}", allow_inf_nan=False)
    except ValueError:
        raise AwsError(_SERIALIZATION, "The body is not JSON.") from None
    problems: list[str] = []
    read: dict[str, Any] = _structure(value, shape, "", problems)
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise AwsError("ValidationException", count + "; ".join(problems[:_MAX_LISTED]))
    return read


def _read(value: Any, shape: Shape, place: str, problems: list[str]) -> Any:
    if isinstance(shape, Structure):
        return _structure(value, shape, f"{place}.", problems)
    if isinstance(shape, ListOf):
        _require_type(value, list, place)
        problems += _size_problems(len(value), shape, place)
        # A body of 14 MB can have millions of members. The error for each would take a gigabyte.
        members = enumerate(value[: shape.max or _MAX_MEMBERS], 1)
        return [_read(member, shape.member, f"{place}.{n}.member", problems) for n, member in members]
    if isinstance(shape, MapOf):
        _require_type(value, dict, place)
        problems += _size_problems(len(value), shape, place)
        return {
            _read(key, shape.key, place, problems): _read(member, shape.value, f"{place}.value", problems)
            for key, member in islice(value.items(), shape.max)
        }
    if isinstance(shape, Number):
        return _number(value, shape, place, problems)
    _require_type(value, str, place)
    if isinstance(shape, Blob):
        data = _decoded(value, place)
        problems += _size_problems(len(data), shape, place)
        return data
    problems += _text_problems(value, shape, place)
    return value


def _structure(value: Any, shape: Structure, prefix: str, problems: list[str]) -> dict[str, Any]:
    _require_type(value, dict, prefix.rstrip(".") or "body")
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        place = f"{prefix}{name[0].lower()}{name[1:]}"
        if value.get(name) is not None:
            found[name] = _read(value[name], member, place, problems)
        elif name in shape.required:
            problems.append(f"Value null at '{place}' failed to satisfy constraint: Member must not be null")
    return found


def _number(value: Any, shape: Number, place: str, problems: list[str]) -> float:
    if isinstance(value, bool) or not isinstance(value, int if shape.whole else int | float):
        raise _wrong_type(place)
    # Whole numbers have any length here, and the long ones cannot be made a float.
    if (isinstance(value, float) and not math.isfinite(value)) or (shape.max is None and abs(value) >= 2**31):
        raise _wrong_type(place)
    if value < shape.min:
        problems.append(_problem(value, place, f"have value greater than or equal to {shape.min}"))
    if shape.max is not None and value > shape.max:
        problems.append(_problem(value, place, f"have value less than or equal to {shape.max}"))
    return value


def _text_problems(value: str, shape: Text, place: str) -> Iterator[str]:
    if any("\ud800" <= sign <= "\udfff" or sign == "\0" for sign in value):
        raise _wrong_type(place)
    yield from _size_problems(len(value), shape, place, value)
    if shape.enum and value not in shape.enum:
        yield _problem(value, place, f"satisfy enum value set: [{', '.join(shape.enum)}]")
    if shape.pattern and not _compiled(shape.pattern).fullmatch(value):
        yield _problem(value, place, f"satisfy regular expression pattern: {shape.pattern}")


def _size_problems(
    size: int, shape: Text | Blob | ListOf | MapOf, place: str, value: str | None = None
) -> Iterator[str]:
    if size < shape.min:
        yield _problem(value, place, f"have length greater than or equal to {shape.min}")
    most = _MAX_MEMBERS if shape.max is None and isinstance(shape, ListOf) else shape.max
    if most is not None and size > most:
        yield _problem(value, place, f"have length less than or equal to {most}")


def _problem(value: object, place: str, rule: str) -> str:
    # Bytes and lists are left out.
    shown = "" if value is None else f" '{str(value)[:_MAX_SHOWN]}'"
    return f"Value{shown} at '{place}' failed to satisfy constraint: Member must {rule}"


def _decoded(value: str, place: str) -> bytes:
    try:
        return binascii.a2b_base64(value, strict_mode=True) if value else b""
    except ValueError:
        raise AwsError(_SERIALIZATION, f"The member {place} is not base64.") from None


def _require_type(value: Any, kind: type, place: str) -> None:
    if not isinstance(value, kind):
        raise _wrong_type(place)


def _wrong_type(place: str) -> AwsError:
    return AwsError(_SERIALIZATION, f"The member {place} has a value of another type.")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern in the syntax of Java."""
    python: Mapping[str, str] = {r"\p{L}": r"\w", r"\p{N}": r"\w", r"\p{Z}": _SPACE}
    for category, signs in python.items():
        pattern = pattern.replace(category, signs)
    return re.compile(pattern)
