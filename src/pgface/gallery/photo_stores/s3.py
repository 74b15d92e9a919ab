"""Crops as objects of an S3-compatible store.

A store of objects has no transactions. So pgface notes the path of an object in `deleted_photo_files` before it writes
the object, and deletes the note in the transaction of the photo's row. After a crash in between, the note is still
there, and the clean-up deletes the object.

boto3 finds the credentials, the region and the address of the store in the environment, for example in
AWS_ACCESS_KEY_ID, AWS_REGION and AWS_ENDPOINT_URL_S3.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import psycopg

from pgface.database.errors import wrap_psycopg_errors
from pgface.database.pool import Database, connected
from pgface.database.sql import queries
from pgface.errors import PgfaceError, StorageError
from pgface.gallery.photo_stores.base import PhotoStore, crop_path, is_crop_path, warn
from pgface.settings import Settings
from pgface.system.extras import how_to_install

S3: Final = "s3://"
_AT_A_TIME: Final = 8
"""Number of requests that run in parallel."""
_CONNECT_TIMEOUT: Final = 3
_READ_TIMEOUT: Final = 10
_ATTEMPTS: Final = 2
_SLOW: Final = 1.0
"""Seconds. After a failure that took longer, deletions wait for `_PAUSE` before the next attempt."""
_PAUSE: Final = 30.0
_MISSING: Final = ("NoSuchKey", "404")

_do_not_try_before: dict[str, float] = {}
"""The time of the next attempt to delete, by the location of a store that does not answer."""


def store_id(location: str) -> str:
    """Return the part of a path that names an S3-compatible store."""
    return f"s3-{hashlib.sha256(location.encode()).hexdigest()[:16]}"


class S3Store(PhotoStore):
    """The crops of one gallery in a bucket, below an optional prefix."""

    writes_early = True

    def __init__(self, location: str, gallery_id: uuid.UUID, database: Database | None, settings: Settings) -> None:
        """Name the store without connecting to it.

        Args:
            location: `s3://bucket` or `s3://bucket/prefix`.
            gallery_id: the gallery.
            database: the gallery's connections. None while the gallery is restored.
            settings: the settings of the gallery.

        """
        self.location = location
        self._database = database
        self._settings = settings
        parts = urlsplit(location)
        self._bucket = parts.netloc
        self._before = f"{parts.path.strip('/')}/".lstrip("/")
        self._prefix = f"{gallery_id}/{store_id(location)}"

    @property
    def prefix(self) -> str:
        """The gallery's id and a hash of the location."""
        return self._prefix

    def place(self, filepath: str) -> str:
        """Return the URL of the object."""
        return f"{S3}{self._bucket}/{self._before}{filepath}"

    def put(self, crops: Mapping[str, bytes | memoryview], connection: psycopg.Connection | None, /) -> bool:
        """Commit a note of the objects, then write them."""
        if not self._note(list(crops), connection):
            return False
        _run_together(self._put, list(crops.items()))
        return True

    def claim(self, connection: psycopg.Connection, filepath: str, /) -> bool:
        """Delete the note in the transaction of the row. It returns False if the clean-up has taken the object."""
        note = connection.execute(queries()["delete_written_note"], {"filepath": filepath}).fetchone()
        return note is not None

    def discard(self, filepaths: Sequence[str]) -> None:
        """Delete the objects. Their notes stay until that has succeeded."""
        if self._database is None or not filepaths:
            return
        try:
            with self._database.transaction() as connection:
                connection.execute(queries()["give_up_written_files"], {"filepaths": list(filepaths)})
            with self._database.transaction() as connection:
                if gone := self.delete(connection, filepaths):
                    connection.execute(queries()["delete_deletion_notes"], {"filepaths": gone})
        except PgfaceError as error:  # the notes stay, and the clean-up deletes the objects
            warn(StorageError(str(error)))

    def open(self, filepath: str, _: psycopg.Connection | None = None, /) -> BinaryIO | None:
        """Read the object."""
        with self._errors():
            try:
                found = _client().get_object(Bucket=self._bucket, Key=self._key(filepath))
            except _client_error() as error:
                if _code(error) in _MISSING:
                    return None
                raise
            with closing(found["Body"]) as body:
                return io.BytesIO(body.read())

    def delete(self, _: psycopg.Connection, filepaths: Sequence[str], /) -> list[str]:
        """Delete the objects."""
        return self._delete_keys({filepath: self._key(filepath) for filepath in filepaths if is_crop_path(filepath)})

    def paths(self, _: psycopg.Connection, /) -> Iterator[str]:
        """List the objects."""
        yield from (path for path in self._list(f"{self._prefix}/") if is_crop_path(path))

    def settle(self, connection: psycopg.Connection, /) -> None:
        """Give up the objects of crashed enrollments. `remove_deleted` deletes them without the enrollment lock."""
        connection.execute(queries()["give_up_old_written_files"], {"prefix": self._prefix})

    def delete_all(self) -> None:
        """Delete every object of the gallery."""
        keys = {path: self._key(path) for path in self._list(f"{self._prefix}/")}
        if len(self._delete_keys(keys)) < len(keys):
            raise StorageError(f"The photo store {self.location} did not delete all crops. Try again later.")

    def check(self) -> None:
        """Write an object, read it, and delete it."""
        key, data = f"{self._before}{self._prefix}/check-{uuid.uuid4().hex}", os.urandom(16)
        with self._errors():
            client = _client()
            client.put_object(Bucket=self._bucket, Key=key, Body=data)
            with closing(client.get_object(Bucket=self._bucket, Key=key)["Body"]) as body:
                same = body.read() == data
            client.delete_object(Bucket=self._bucket, Key=key)
        if not same:
            raise StorageError(f"The photo store {self.location} returned other bytes than pgface has written.")

    def keeps_versions(self) -> bool:
        """Whether the bucket keeps earlier versions of objects, so that deleted crops still exist."""
        with self._errors():
            try:
                found = _client().get_bucket_versioning(Bucket=self._bucket)
            except _client_error():  # these credentials may not ask, or the store does not know the question
                return False
        return bool(found.get("Status") == "Enabled")

    def restoring(self, _: psycopg.Connection, /) -> RestoredObjects:
        """Return the writer of the objects of an archive."""
        return RestoredObjects(self)

    def put_restored(self, crops: Mapping[str, bytes]) -> None:
        """Write crops of an archive without notes, because the gallery does not exist before the restore commits."""
        _run_together(self._put, list(crops.items()))

    def delete_restored(self, filepaths: Sequence[str]) -> None:
        """Delete crops of a restore that failed."""
        self._delete_keys({filepath: self._key(filepath) for filepath in filepaths})

    def _put(self, crop: tuple[str, bytes | memoryview]) -> None:
        filepath, data = crop
        with self._errors():
            _client().put_object(
                Bucket=self._bucket, Key=self._key(filepath), Body=bytes(data), ContentType="image/jpeg"
            )

    def _delete_keys(self, keys: Mapping[str, str]) -> list[str]:
        """Delete objects. One request for each, because not every store accepts the checksums of larger requests."""
        began = time.monotonic()
        if not keys or began < _do_not_try_before.get(self.location, 0):
            return []
        gone: list[str] = []

        def delete(filepath: str) -> None:
            with self._errors():
                _client().delete_object(Bucket=self._bucket, Key=keys[filepath])
            gone.append(filepath)

        first, *others = keys
        try:
            delete(first)  # alone, so that a store that does not answer is asked only once
            _run_together(delete, others)
        except StorageError as error:
            warn(error)
            if time.monotonic() - began > _SLOW:
                _do_not_try_before[self.location] = time.monotonic() + _PAUSE
        return gone

    def _list(self, prefix: str) -> Iterator[str]:
        with self._errors():
            pages = _client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._before + prefix):
                yield from (found["Key"].removeprefix(self._before) for found in page.get("Contents", ()))

    def _note(self, filepaths: Sequence[str], connection: psycopg.Connection | None) -> bool:
        """Commit a note of objects before they are written. A caller's transaction may roll back, so use another.

        Returns False if the gallery no longer knows this store, because it would not find the note.
        """
        values = {"filepaths": list(filepaths), "location": self.location}
        if self._database is not None and connection is None:
            return self._database.execute("note_written_files", values) > 0
        # Not from the pool, which may have no second connection for this thread.
        with connected(self._settings) as other, wrap_psycopg_errors(), other.transaction():
            other.execute(queries()["enter_schema"], {"schema": self._settings.schema_name})
            return other.execute(queries()["note_written_files"], values).rowcount > 0

    def _key(self, filepath: str) -> str:
        return f"{self._before}{filepath}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ImportError:
            raise StorageError(
                f"Photos in {self.location} need boto3. Install it with {how_to_install('s3')}."
            ) from None
        except Exception as error:
            if not _is_of_boto(error):
                raise
            raise StorageError(
                f"The photo store {self.location} could not be read or written ({_code(error)}). "
                "Check its address, the bucket and the credentials."
            ) from error


class RestoredObjects:
    """Objects from an archive, written in parallel."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._waiting: dict[str, bytes] = {}
        self._written: list[str] = []

    def add(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write an object, together with others."""
        self._waiting[crop_path(self._store.prefix, name)] = b"".join(blocks)
        if len(self._waiting) == _AT_A_TIME:
            self.sync()

    def sync(self) -> None:
        """Write the objects that are waiting."""
        self._written += self._waiting
        self._store.put_restored(self._waiting)
        self._waiting = {}

    def discard(self) -> None:
        """Delete the objects. Their notes stay until that has succeeded."""
        self._store.delete_restored(self._written)

    def close(self) -> None:
        """Do nothing, because this object has no resources."""


def _run_together(run: Callable[[Any], None], tasks: Sequence[Any]) -> None:
    """Run several requests in parallel, and raise the first error."""
    if len(tasks) < 2:
        for task in tasks:
            run(task)
        return
    with ThreadPoolExecutor(min(_AT_A_TIME, len(tasks))) as threads:
        for _ in threads.map(run, tasks):
            pass


_making = threading.Lock()


_clients: dict[int, Any] = {}
"""The client of this process. A child process must not use the connections of its parent."""


def _client() -> Any:
    process = os.getpid()
    with _making:  # boto3 makes one client at a time
        if process not in _clients:
            _clients.clear()
            _clients[process] = _new_client()
        return _clients[process]


def _new_client() -> Any:
    import boto3
    from botocore.config import Config

    def made(**styles: Any) -> Any:
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"total_max_attempts": _ATTEMPTS},
            max_pool_connections=4 * _AT_A_TIME,
            # Stores other than Amazon's may not know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **styles,
        )
        return boto3.session.Session().client("s3", config=config)

    client = made()
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if ".amazonaws.com" in f".{host}":
        return client
    # A store on your own machine has no host name for each bucket.
    return made(s3={"addressing_style": "path"})


def _client_error() -> Any:
    from botocore.exceptions import ClientError

    return ClientError


def _is_of_boto(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, (BotoCoreError, ClientError, OSError))


def _code(error: Any) -> str:
    response = getattr(error, "response", None)
    return str(response["Error"]["Code"]) if response else type(error).__name__
