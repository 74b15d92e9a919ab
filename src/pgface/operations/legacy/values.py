"""Values as SQLite keeps them: any type in any column, and bytes where Python's sqlite3 was given NumPy's numbers.

SQLite declares types and does not enforce them. What can be read in one way only is read; the rest is a ValueError.
"""

from __future__ import annotations

import re
import struct
from typing import Any

_LARGEST_SIDE = 2**24
"""Pixels. Below it, four or eight bytes are a whole number or a float, and never both: 1.0 is 0x3F800000."""
_SMALLEST, _LARGEST = 2.0**-120, 2.0**127
"""What a column of type REAL takes. The bytes of NumPy's whole numbers would be floats below it."""
_BOOLS = {"1": True, "true": True, "t": True, "yes": True, "on": True}
_BOOLS |= {"0": False, "false": False, "f": False, "no": False, "off": False}


def parse_text(value: Any) -> str:
    """Text, without spaces around it; empty for NULL.

    Raises:
        ValueError: it is not UTF-8.

    """
    if isinstance(value, bytes):
        value = value.decode()
    found = "" if value is None else str(value).strip()
    found.encode()  # not with halves of characters, which is how undecodable text is read from SQLite
    if "\0" in found:
        raise ValueError("a text holds NUL")
    return found


def parse_number(value: Any) -> float | None:
    """A number, also in digits or in the bytes of a NumPy float; None for NULL.

    Raises:
        ValueError: it is none, or bytes that can be read as digits, or a whole number, too.

    """
    if value is None:
        return None
    if isinstance(value, bytes):
        value = _unpacked(value, "<f", "<d")
    found = float(value)
    if found != 0 and not _SMALLEST < abs(found) < _LARGEST:
        raise ValueError(f"{found} is no float of four bytes")
    return found


def parse_dimension(value: Any) -> int | None:
    """A width or height in pixels, also in digits or in the bytes of a NumPy number; None for NULL.

    Raises:
        ValueError: it is no whole number from 0 to 16,777,215.

    """
    if value is None:
        return None
    if not isinstance(value, bytes):
        return _side(float(value))
    whole = _unpacked(value, "<i", "<q")
    return int(whole) if 0 <= whole < _LARGEST_SIDE else _side(_unpacked(value, "<f", "<d"))


def parse_bool(value: Any) -> bool:
    """Whether something is so; NULL is not.

    Raises:
        ValueError: it is neither 0 nor 1, in any form.

    """
    if value is None:
        return False
    if isinstance(value, bytes):
        if value not in (b"\0", b"\1"):
            raise ValueError("bytes are no truth value")
        return value == b"\1"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return _BOOLS[str(value).strip().lower()]
    except KeyError as error:
        raise ValueError(f"{value!r} is no truth value") from error


def _side(value: float) -> int:
    if not (0 <= value < _LARGEST_SIDE and value.is_integer()):
        raise ValueError(f"{value} is no number of pixels")
    return int(value)


def _unpacked(value: bytes, four: str, eight: str) -> float:
    """The number in the bytes, which are little endian: sqlite3 writes NumPy's as they lie in memory."""
    if re.fullmatch(rb"[-+.\deE]+", value):
        raise ValueError("bytes are digits and a number at once")
    try:
        (found,) = struct.unpack(four if len(value) == 4 else eight, value)
    except struct.error as error:
        raise ValueError("bytes are no number") from error
    return float(found) if four == "<f" else int(found)
