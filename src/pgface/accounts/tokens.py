"""Login tokens as the database keeps them."""

from __future__ import annotations

import hashlib


def token_hash(token: str) -> str:
    """What `auth_tokens.token` holds of a token: its SHA-256, 64 hexadecimal digits.

    A token is random and long, so that nobody can guess it from a fast hash; who reads the table cannot log in.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
