"""Access keys for AWS SDKs: an API key with an id and a secret, with which clients sign requests.

The service needs the secret to check a signature. So the database stores it encrypted. The key of that encryption is
PGFACE_ACCESS_KEYS_SECRET, or a file in the data folder. A copy of the database alone reveals no secret. Someone who
reads the database and the data folder can decrypt all of them, as the service does.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken
from psycopg.rows import kwargs_row

from pgface.accounts.client import Client
from pgface.accounts.keys import ApiKey, find_key, insert_key
from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import KeyRefusedError, StorageError
from pgface.settings import Settings
from pgface.system.private_folder import private_folder

_PREFIX: Final = "PGFA"
"""Not Amazon's AKIA, so that secret scanners and people do not take such a key for one of Amazon's."""
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_FILE: Final = "access-keys.secret"
_USED_AGAIN: Final = timedelta(minutes=1)
"""The time of use is recorded at most this often."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key with its secret."""

    access_key_id: str
    secret: str = field(repr=False)
    key: ApiKey


def create_access_key(
    database: Database, settings: Settings, name: str, scopes: Collection[str], client: Client
) -> AccessKey:
    """Create an access key for all galleries, in the default gallery. The secret cannot be shown again.

    The service's role needs the `client.authority` of an administrator of all galleries. The owner needs none.

    Raises:
        AccountError: the name cannot be used, or a scope is missing or unknown.
        StorageError: the file of the encryption's key cannot be written.

    """
    access_key_id = _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(16))
    secret = base64.b64encode(secrets.token_bytes(30)).decode()
    encrypted = _cipher(settings, access_key_id, create=True).encrypt(secret.encode())
    with database.transaction() as connection:
        stored = insert_key(connection, secret, name, scopes, client, all_galleries=True)
        values = {"id": access_key_id, "key_id": stored.id, "encrypted": encrypted, "authority": client.authority}
        connection.execute(queries()["add_access_key"], values)
    return AccessKey(access_key_id, secret, stored)


def find_access_key(database: Database, settings: Settings, access_key_id: str) -> AccessKey:
    """Find an access key and decrypt its secret. It does not record a use.

    Raises:
        KeyRefusedError: the key is unknown or was revoked, or its secret cannot be decrypted.

    """
    found = database.read("find_access_key", {"id": access_key_id}, row_factory=kwargs_row(_with_secret))
    if not found:
        raise KeyRefusedError
    key, encrypted = found[0]
    try:
        secret = _cipher(settings, access_key_id).decrypt(encrypted).decode()
    except InvalidToken:
        raise KeyRefusedError from None
    return AccessKey(access_key_id, secret, key)


def record_use(database: Database, found: AccessKey) -> None:
    """Record the use of a key, at most once a minute.

    Raises:
        KeyRefusedError: the key was revoked in the meantime.

    """
    last = found.key.last_used_at
    if last is None or datetime.now(UTC) - last > _USED_AGAIN:
        find_key(database, found.secret)


def _with_secret(*, encrypted_secret: bytes, **columns: Any) -> tuple[ApiKey, bytes]:
    return ApiKey(**columns), bytes(encrypted_secret)


def _cipher(settings: Settings, access_key_id: str, *, create: bool = False) -> Fernet:
    secret = settings.access_keys_secret
    known = secret.get_secret_value().encode() if secret else _secret_in_file(settings.data_dir, create=create)
    key = hashlib.sha256(b"secrets of access keys\0" + access_key_id.encode() + b"\0" + known).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def _secret_in_file(folder: Path, *, create: bool) -> bytes:
    file = folder / _FILE
    try:
        if create and not file.exists():
            private_folder(folder)
            _write_once(file, secrets.token_urlsafe(32).encode())
        return file.read_bytes()
    except FileNotFoundError:
        raise KeyRefusedError from None
    except OSError as error:
        raise StorageError(
            f"{file} cannot be used ({error.strerror}). It has the key that encrypts the secrets of access keys. Give "
            "this user access to it, or set PGFACE_ACCESS_KEYS_SECRET."
        ) from error


def _write_once(file: Path, secret: bytes) -> None:
    """Write a file that only its owner can read. A file of another process stays."""
    own = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(secret)
        opened.flush()
        os.fsync(opened.fileno())
    with suppress(FileExistsError):
        os.link(own, file)
    own.unlink()
