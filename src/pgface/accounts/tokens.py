"""The hash that the database stores in place of a token, and the cipher of what only the token's holder may read."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet


def token_hash(token: str) -> str:
    """Return the SHA-256 of a token as 64 hexadecimal digits, for `auth_tokens.token` and other tables.

    A token is random and long, so a fast hash is safe: a reader of the table cannot find the token and log in.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def state_cipher(purpose: str, token: str) -> Fernet:
    """Return a cipher whose key is a hash of a long random token. It is another hash than `token_hash`."""
    key = hashlib.sha256(f"state of a {purpose}\0".encode() + token.encode("utf-8", "surrogatepass")).digest()
    return Fernet(base64.urlsafe_b64encode(key))
