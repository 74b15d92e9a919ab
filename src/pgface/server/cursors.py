"""Lists by the page: a cursor says where the last page ended, and nobody needs to know how."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from pgface.errors import CursorError

MOST = 100

Limit = Annotated[int, Query(ge=1, le=MOST, description="Rows of a page at most.")]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before; none for the first page.")
]

T = TypeVar("T")


class Page(BaseModel):
    """A part of a list."""

    next_cursor: str | None = Field(default=None, description="Of the next page; null at the end.")


def encode_cursor(of: str, last: int) -> str:
    """Where a page of this list ended."""
    return base64.urlsafe_b64encode(f"{of}:{last}".encode()).decode().rstrip("=")


def decode_cursor(of: str, cursor: str | None) -> int | None:
    """The id of the last row of the page before; None for the first page.

    Raises:
        CursorError: it is none of this list's.

    """
    if cursor is None:
        return None
    try:
        kind, _, last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        number = int(last)
    except (ValueError, binascii.Error):
        raise CursorError from None
    if kind != of or not 0 <= number < 2**63:
        raise CursorError
    return number


def page(of: str, rows: Sequence[T], limit: int, id_of: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
    """A page of rows, of which one more than the limit was asked for, and the next page's cursor."""
    shown = rows[:limit]
    return shown, encode_cursor(of, id_of(shown[-1])) if len(rows) > limit else None
