"""A service with the API of Amazon Rekognition at a real port, and boto3 clients for it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config as ClientConfig
from botocore.credentials import Credentials
from uvicorn import Config, Server

from pgface.accounts import Client, create_access_key
from pgface.accounts.access_keys import AccessKey
from pgface.gallery import Gallery
from pgface.server.app import create_app
from pgface.server.compat.rekognition.errors import MEDIA_TYPE
from pgface.settings import Settings
from support.aws_model import check_answer, check_error
from support.embedded_server import eventually
from support.service_role import opened_as_service

REGION = "eu-central-1"
_SESSION = boto3.session.Session()
"""Shared, because each session reads the model of the service again."""


def signed_request(
    url: str,
    key: AccessKey,
    operation: str,
    body: bytes,
    *,
    signed: Sequence[tuple[str, str]] = (),
    unsigned: Sequence[tuple[str, str]] = (),
    chunked: bool = False,
) -> bytes:
    """Make the bytes of a request whose signature botocore makes.

    Args:
        url: the URL, whose query is not signed.
        key: the access key.
        operation: the operation.
        body: the body.
        signed: more headers that are signed.
        unsigned: headers that are added to the signed request.
        chunked: send the body as one chunk, without its length.

    """
    place = urlsplit(url)
    sent = {"Content-Type": MEDIA_TYPE, "X-Amz-Target": f"RekognitionService.{operation}"} | dict(signed)
    request = AWSRequest("POST", url.partition("?")[0], headers=sent, data=body)
    SigV4Auth(Credentials(key.access_key_id, key.secret), "rekognition", REGION).add_auth(request)
    head = [("Host", place.netloc), *((name, str(value)) for name, value in request.headers.items()), *unsigned]
    head += [("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))]
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    lines = [f"POST {path} HTTP/1.1", "Connection: close", *(f"{name}: {value}" for name, value in head)]
    data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def send(url: str, *parts: bytes, pause: float = 0) -> tuple[int, dict[str, Any]]:
    """Send the parts of a request with a pause before each of the later ones. Return the status and the JSON body."""
    place, data = urlsplit(url), b""
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=30) as connection:
        with suppress(ConnectionError):
            for number, part in enumerate(parts):
                time.sleep(pause if number else 0)
                connection.sendall(part)
        with suppress(ConnectionError):
            while more := connection.recv(65_536):
                data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else {}


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
