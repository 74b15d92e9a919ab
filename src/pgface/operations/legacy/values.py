"""Parses values from SQLite, which declares types but does not enforce them, and stores NumPy's numbers as bytes.

A value with one possible meaning is accepted. Other values are a ValueError.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

_MAX_DIMENSION = 2**24
"""In pixels. Below it, the bytes of a number are either those of a whole number or of a float: 1.0 is 0x3F800000."""
_MIN_FLOAT, _MAX_FLOAT = 2.0**-120, 2.0**127
"""The range of PostgreSQL's type REAL. The bytes of NumPy's whole numbers would be smaller floats."""
_BOOLS = {"1": True, "true": True, "t": True, "yes": True, "on": True}
_BOOLS |= {"0": False, "false": False, "f": False, "no": False, "off": False}

_JULIAN_DAY_OF_1970 = 2_440_587.5
_LAST_JULIAN_DAY = 5_373_484.5
"""Smaller numbers are Julian days, and larger ones seconds since 1970, as for SQLite's modifier `auto`:
https://www.sqlite.org/lang_datefunc.html, "Modifiers"."""


def parse_text(value: Any) -> str:
    """Parse a text, and strip spaces around it. NULL is an empty text.

    Raises:
        ValueError: the text is not UTF-8, or contains NUL.

    """
    if isinstance(value, bytes):
        value = value.decode()
    found = "" if value is None else str(value).strip()
    found.encode()  # fails for surrogates, by which SQLite's undecodable bytes were replaced
    if "\0" in found:
        raise ValueError("the text contains NUL")
    return found


def parse_number(value: Any) -> float | None:
    """Parse a number, also from digits or from the bytes of a NumPy float. NULL is None.

    Raises:
        ValueError: the value is not a number, or its bytes could also be digits or a whole number.

    """
    if value is None:
        return None
    if isinstance(value, bytes):
        value = _unpacked(value, "<f", "<d")
    found = float(value)
    if found != 0 and not _MIN_FLOAT < abs(found) < _MAX_FLOAT:
        raise ValueError(f"{found} is not a float of four bytes")
    return found


def parse_dimension(value: Any) -> int | None:
    """Parse a width or height in pixels, also from digits or from the bytes of a NumPy number. NULL is None.

    Raises:
        ValueError: the value is not a whole number from 0 to 16,777,215.

    """
    if value is None:
        return None
    if not isinstance(value, bytes):
        return _dimension(float(value))
    whole = _unpacked(value, "<i", "<q")
    return int(whole) if 0 <= whole < _MAX_DIMENSION else _dimension(_unpacked(value, "<f", "<d"))


def parse_bool(value: Any) -> bool:
    """Parse a boolean. NULL is false.

    Raises:
        ValueError: the value is not a form of 0 or 1.

    """
    if value is None:
        return False
    if isinstance(value, bytes):
        if value not in (b"\0", b"\1"):
            raise ValueError("the bytes are not a boolean")
        return value == b"\1"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return _BOOLS[str(value).strip().lower()]
    except KeyError as error:
        raise ValueError(f"{value!r} is not a boolean") from error


def parse_date(value: object) -> datetime | None:
    """Parse a date without a time zone, None for NULL. A date with a zone is converted to UTC.

    Args:
        value: ISO text with or without time and zone, seconds since 1970, or a Julian day.

    Raises:
        ValueError: the value has another format.

    """
    if value is None:
        return None
    if isinstance(value, str):
        return _parse_date_text(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _date_of_number(value)
    raise ValueError(f"{value!r} is not a date")


def _dimension(value: float) -> int:
    if not (0 <= value < _MAX_DIMENSION and value.is_integer()):
        raise ValueError(f"{value} is not a number of pixels")
    return int(value)


def _unpacked(value: bytes, four: str, eight: str) -> float:
    """Unpack a little-endian number. sqlite3 stores NumPy's numbers as they are in memory."""
    if re.fullmatch(rb"[-+.\deE]+", value):
        raise ValueError("the bytes are ambiguous: digits or a number")
    try:
        (found,) = struct.unpack(four if len(value) == 4 else eight, value)
    except struct.error as error:
        raise ValueError("the bytes are not a number") from error
    return float(found) if four == "<f" else int(found)


def _parse_date_text(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _date_of_number(float(text))
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def _date_of_number(number: float) -> datetime:
    seconds = (number - _JULIAN_DAY_OF_1970) * 86_400 if 0 <= number < _LAST_JULIAN_DAY else number
    try:
        return datetime(1970, 1, 1) + timedelta(seconds=round(seconds, 3))
    except OverflowError as error:
        raise ValueError(f"{number} is not a date") from error
