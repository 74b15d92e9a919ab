"""An S3-compatible store in this process, which can be stopped or slow for a moment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3

from pgface.gallery.photo_stores import s3
from support.photo_store import BUCKET

if TYPE_CHECKING:
    from moto.server import ThreadedMotoServer

_NOWHERE = "http://127.0.0.1:9"
"""An address where no service listens."""


class ObjectStore:
    """A running store with one bucket."""

    def __init__(self, url: str, server: ThreadedMotoServer) -> None:
        self.url = url
        self._delay = 0.0
        self._delay_requests(server)
        self.client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        self.client.create_bucket(Bucket=BUCKET)

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def delete_all(self) -> None:
        for key in self.keys():
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def _delay_requests(self, server: ThreadedMotoServer) -> None:
        assert server._server is not None
        answer = server._server.app

        def answer_late(*request: Any) -> Any:
            time.sleep(self._delay)
            return answer(*request)

        server._server.app = answer_late

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Let each request take longer."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    @contextmanager
    def down(self) -> Iterator[None]:
        """Let pgface find no store."""
        with _address(_NOWHERE):
            yield


@contextmanager
def serving_objects() -> Iterator[ObjectStore]:
    """Run a store whose address and credentials are in the environment."""
    from moto.server import ThreadedMotoServer  # here, because it takes half a second

    names = {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": "operator", "AWS_REGION": "us-east-1"}
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        with patch.dict(os.environ, names), _address(url):
            store = ObjectStore(url, server)
            yield store
            store.client.close()
    finally:
        server.stop()


@contextmanager
def _address(url: str) -> Iterator[None]:
    with patch.dict(os.environ, {"AWS_ENDPOINT_URL_S3": url}):
        _new_client()
        try:
            yield
        finally:
            _new_client()


def _new_client() -> None:
    for client in s3._clients.values():
        client.close()
    s3._clients.clear()
    s3._do_not_try_before.clear()
