"""A service with the API of Amazon Rekognition at a real port, and boto3 clients for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig
from uvicorn import Config, Server

from pgface.accounts import Client, create_access_key
from pgface.accounts.access_keys import AccessKey
from pgface.gallery import Gallery
from pgface.server.app import create_app
from pgface.settings import Settings
from support.aws_model import check_answer, check_error
from support.embedded_server import eventually
from support.service_role import opened_as_service

REGION = "eu-central-1"
_SESSION = boto3.session.Session()
"""Shared, because each session reads the model of the service again."""


@dataclass(frozen=True)
class RekognitionService:
    """A running service."""

    url: str
    owner: Gallery
    gallery: Gallery
    settings: Settings
    resources: ExitStack
    """Closes the clients at the end."""

    def access_key(self, *scopes: str) -> AccessKey:
        return create_access_key(self.owner.database, self.settings, "a program", scopes, Client())

    def client(self, *scopes: str, key: AccessKey | None = None, **options: Any) -> Any:
        """Make a boto3 client, by default with the scope admin."""
        key = key or self.access_key(*(scopes or ("admin",)))
        values: dict[str, Any] = {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": key.access_key_id,
            "aws_secret_access_key": key.secret,
            "config": ClientConfig(retries={"total_max_attempts": 1}, proxies={}),
        }
        made = _SESSION.client("rekognition", **(values | options))
        self.resources.callback(made.close)
        made.meta.events.register("before-parse.rekognition.*", _check_response)
        return made


def _check_response(operation_model: Any, response_dict: Any, **_: Any) -> None:
    check = check_error if response_dict["status_code"] >= 400 else check_answer
    check(response_dict["body"], operation_model.name)


@contextmanager
def serving_rekognition(settings: Settings, model: Path) -> Iterator[RekognitionService]:
    """Run the service in a thread of this process."""
    with Gallery.create(settings, model=str(model)) as owner, opened_as_service(settings) as gallery:
        config = Config(create_app(gallery), http="pgface.server.connections:BoundedProtocol", port=0, log_config=None)
        server = Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert eventually(lambda: server.started, 60)
            port = server.servers[0].sockets[0].getsockname()[1]
            with ExitStack() as resources:
                yield RekognitionService(f"http://127.0.0.1:{port}", owner, gallery, settings, resources)
        finally:
            server.should_exit = True
            thread.join(60)
