"""How the database stores tokens."""

from __future__ import annotations

import hashlib


def token_hash(token: str) -> str:
    """The SHA-256 of a token, 64 hexadecimal digits, which `auth_tokens.token` stores.

    A token is random and long, so a fast hash is safe: a reader of the table cannot find the token and log in.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
