"""Opaque tokens of pages. A token is of one list, and has the last row of its page."""

from __future__ import annotations

import base64
import binascii
import hashlib

from pgface.errors import CursorError


def encode_token(list_name: str, last: str) -> str:
    """Make the token for the page after a row. It has less than 255 characters."""
    return base64.urlsafe_b64encode(f"{_short(list_name)}:{last}".encode()).decode().rstrip("=")


def decode_token(list_name: str, token: str | None) -> str | None:
    """Return the last row of the previous page. None for the first page.

    Raises:
        CursorError: this is not a token of this list.

    """
    if token is None:
        return None
    try:
        data = base64.b64decode((token + "=" * (-len(token) % 4)).encode("ascii"), altchars=b"-_", validate=True)
        kind, _, last = data.decode("ascii").partition(":")
    except (ValueError, binascii.Error):
        raise CursorError from None
    if kind != _short(list_name) or not last:
        raise CursorError
    return last


def decode_id(list_name: str, token: str | None) -> int:
    """Return the id of the last row of the previous page. 0 for the first page.

    Raises:
        CursorError: this is not a token of this list.

    """
    last = decode_token(list_name, token)
    if last is None:
        return 0
    if not (last.isascii() and last.isdigit() and len(last) <= 10):
        raise CursorError
    return int(last)


def _short(list_name: str) -> str:
    return hashlib.sha256(list_name.encode()).hexdigest()[:16]
