"""The hash that the database stores in place of a token."""

from __future__ import annotations

import hashlib


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token as 64 hexadecimal digits, for `auth_tokens.token` and other tables.

    A token is random and long, so a fast hash is safe: a reader of the table cannot find the token and log in.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
