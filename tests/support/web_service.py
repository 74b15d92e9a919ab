"""The web service for tests, in this process or as `pgface serve` in its own processes."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2 as httpx
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from pgface.accounts import Accounts, Client, NewLogin, add_administrator, create_key
from pgface.gallery import Gallery
from pgface.server.app import create_app
from pgface.server.service import Service
from pgface.settings import Settings
from support.databases import create_database, drop_database
from support.embedded_server import eventually
from support.galleries import ODD_SCHEMA, contents
from support.photo_store import PHOTO_STORE
from support.serve import Process, serving
from support.service_role import opened_as_service, service_role

PASSWORD = "four plain words here"
V1 = "/api/v1"
_numbers = count(1)

Headers = dict[str, str]
File = tuple[str, bytes, str]


def bearer(secret: str) -> Headers:
    return {"Authorization": f"Bearer {secret}"}


def file(data: bytes, name: str = "photo.jpg") -> File:
    return (name, data, "image/jpeg")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def enroll_own(api: Served, user_id: int, headers: Headers, photo: Path) -> Response:
    """Enroll a photo of the user who sends the request."""
    return api.client.post(f"{V1}/users/{user_id}/photos", headers=headers, files={"photo": file(photo.read_bytes())})


def code_of(response: Response, status: int) -> str:
    """Check that a response is a problem (RFC 9457) with a status, and return its code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"/problems#{problem['code']}"
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == response.headers["x-request-id"]
    return str(problem["code"])


@dataclass(frozen=True)
class LoggedInUser:
    """A user who is logged in by password."""

    id: int
    email: str
    token: str = field(repr=False)

    @property
    def headers(self) -> Headers:
        return bearer(self.token)

    @property
    def cookie(self) -> Headers:
        """The headers that a browser sends from the pages of the service."""
        return {"Cookie": f"__Host-pgface={self.token}", "Sec-Fetch-Site": "same-origin"}


class Served:
    """The application with a gallery that the service's role has opened, and a client."""

    def __init__(self, owner: Gallery, gallery: Gallery, app: FastAPI, client: TestClient) -> None:
        self.owner = owner
        self.gallery = gallery
        self.app = app
        self.client = client
        self.accounts = Accounts(gallery)

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def at(self, address: str) -> TestClient:
        """Make a client at another address."""
        return TestClient(
            self.app, base_url="http://localhost", raise_server_exceptions=False, client=(address, 50_000)
        )

    def key(self, *scopes: str) -> Headers:
        """Make a new key, and return its header."""
        return bearer(self.new_key(*scopes)[0])

    def new_key(self, *scopes: str) -> tuple[str, int]:
        key, about = create_key(self.owner.database, "a program", scopes, Client())
        return key, about.id

    def log_in(self, email: str) -> NewLogin:
        return self.accounts.log_in(email, PASSWORD)

    def person(self, email: str | None = None, name: str | None = None) -> LoggedInUser:
        email = email or f"person{next(_numbers)}@example.org"
        user = self.accounts.register(email, PASSWORD, name=name)
        return LoggedInUser(user.id, email, self.log_in(email).token)

    def administrator(self) -> LoggedInUser:
        person = self.person(f"administrator{next(_numbers)}@example.org")
        add_administrator(self.owner.database, person.id, Client())
        return person

    def execute(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the owner of the gallery, and return the rows."""
        with self.owner.database.transaction() as connection:
            cursor = connection.execute(query.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def contents(self) -> tuple[Any, ...]:
        """Return all data that a refused request must not change."""
        return contents(self.owner), self.execute("SELECT count(*) FROM api_keys"), self.idempotent()

    def idempotent(self) -> int:
        ((number,),) = self.execute("SELECT count(*) FROM idempotent_requests")
        return int(number)

    def delete_users(self) -> None:
        """Delete all users, attempts, stored responses and jobs."""
        for (user_id,) in self.execute("SELECT id FROM users"):
            self.owner.erase_user(user_id)
        self.execute("DELETE FROM login_attempts")
        self.execute("DELETE FROM idempotent_requests")
        self.execute("DELETE FROM jobs")


@contextmanager
def served_in_process(settings: Settings, model: Path) -> Iterator[Served]:
    """Run the service in this process."""
    with Gallery.create(settings, model=str(model)) as owner, opened_as_service(settings) as gallery:
        app = create_app(gallery)
        with TestClient(
            app, base_url="http://localhost", raise_server_exceptions=False, client=("192.0.2.1", 50_000)
        ) as client:
            yield Served(owner, gallery, app, client)


class Running:
    """A running `pgface serve`."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log
        self.url = f"http://127.0.0.1:{port}"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log, each of which must be JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@contextmanager
def running(folder: Path, environment: dict[str, str], *arguments: str) -> Iterator[Running]:
    """Run `pgface serve` until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with serving(environment, folder, *arguments) as served:
        service = Running(served.process, int(served.url.rpartition(":")[2]), served.log)
        # If there are several processes, they may start later than the first.
        assert eventually(lambda: _is_ready(service), 60, 0.1), served.log.read_text()
        yield service


def _is_ready(service: Running) -> bool:
    with contextlib.suppress(httpx.HTTPError), service.client() as client:
        return client.get("/readyz").status_code == 200
    return False


@dataclass(frozen=True)
class Place:
    """A gallery, and the environment of a process that opens it as the service's role."""

    owner: Gallery
    environment: dict[str, str]

    def key(self, *scopes: str) -> Headers:
        return bearer(create_key(self.owner.database, "a program", scopes, Client())[0])


@contextmanager
def gallery_for_a_process(server: str, folder: Path, model: Path) -> Iterator[Place]:
    url = create_database(server)
    place = {"data_dir": folder / "data", "photo_store": PHOTO_STORE}
    values = {"database_url": url, "PGFACE_SCHEMA": ODD_SCHEMA} | place
    settings = Settings.model_validate(values)
    with Gallery.create(settings, model=str(model)) as owner, service_role(settings) as of_service:
        assert of_service.database_url
        environment = {
            "PGFACE_DATABASE_URL": of_service.database_url.get_secret_value(),
            "PGFACE_SCHEMA": ODD_SCHEMA,
            "PGFACE_DATA_DIR": str(folder / "data"),
        }
        yield Place(owner, environment)
    drop_database(server, url)
