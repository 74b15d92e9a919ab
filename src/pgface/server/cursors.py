"""Pagination with opaque cursors. A cursor contains the last id of a page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from pgface.errors import CursorError

_MAX_ROWS = 100

Limit = Annotated[int, Query(ge=1, le=_MAX_ROWS, description="The maximum of rows.")]
Cursor = Annotated[
    str | None,
    Query(max_length=200, description="The `next_cursor` of the previous page. None for the first page."),
]

T = TypeVar("T")


def encode_cursor(list_name: str, last: int) -> str:
    """Make the cursor for the page after a row."""
    return base64.urlsafe_b64encode(f"{list_name}:{last}".encode()).decode().rstrip("=")


def decode_cursor(list_name: str, cursor: str | None) -> int | None:
    """Return the id of the last row of the previous page. None for the first page.

    Raises:
        CursorError: this is not a cursor of this list.

    """
    if cursor is None:
        return None
    try:
        kind, _, last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        number = int(last)
    except ValueError:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise CursorError from None
    if kind != list_name or not 0 <= number < 2**63:
        raise CursorError
    return number


def page(list_name: str, rows: Sequence[T], limit: int, id_of: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
    """Return a page of rows and the cursor of the next page. `rows` is the result of a query for `limit + 1` rows."""
    shown = rows[:limit]
    return shown, encode_cursor(list_name, id_of(shown[-1])) if len(rows) > limit else None
