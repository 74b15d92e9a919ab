"""The service at a path of a shared host: every link, form, file and redirect stays below that path."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi import FastAPI
from uvicorn import Config
from uvicorn.server import ServerState

from pgface.accounts import Accounts, Client, add_administrator
from pgface.server.connections import BoundedProtocol, usable_prefix
from pgface.server.service import COOKIE
from support.sentences.api import WHERE_THE_DOCUMENT_IS
from support.web_service import PASSWORD, V1, Place, Running, gallery_for_a_process, running

ROOT = "/shared/faces"
_LINK = re.compile(r'\s(?:href|src|action)="([^"#]*)')


@pytest.fixture(scope="module")
def place(
    postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path, faces_dir: Path
) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        user = Accounts(place.owner).register("admin@example.org", PASSWORD)
        add_administrator(place.owner.database, user.id, Client())
        place.owner.enroll(faces_dir / "Ariel_Sharon" / "Ariel_Sharon_0001.jpg", user.id)
        place.environment["PGFACE_WORKERS"] = "1"
        yield place


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), place.environment) as service:
        yield service


@pytest.fixture(scope="module")
def behind(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that has its path from its settings."""
    with running(tmp_path_factory.mktemp("behind"), place.environment | {"PGFACE_ROOT_PATH": ROOT}) as service:
        yield service


def token_of(place: Place) -> str:
    return Accounts(place.owner).log_in("admin@example.org", PASSWORD).token


@pytest.mark.parametrize("stripped", [True, False], ids=["the proxy removes the path", "the proxy keeps the path"])
@pytest.mark.parametrize("by", ["header", "setting"])
def test_every_link_of_every_page(service: Running, behind: Running, place: Place, stripped: bool, by: str) -> None:
    headers = {"Cookie": f"{COOKIE}={token_of(place)}", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    if by == "header":
        headers["X-Forwarded-Prefix"] = ROOT
    asked = service if by == "header" else behind
    seen: set[str] = set()
    todo = [f"{ROOT}/", f"{ROOT}/account", f"{ROOT}/admin/gallery", f"{ROOT}/problems", f"{ROOT}/no/such/page"]
    pages = 0
    with asked.client(headers=headers) as client:
        while todo:
            path = todo.pop()
            if path in seen or len(seen) > 200:
                continue
            seen.add(path)
            assert path.startswith(f"{ROOT}/"), path
            answer = client.get(path.removeprefix(ROOT) if stripped else path)
            if answer.is_redirect:
                todo.append(answer.headers["location"])
                continue
            # The targets of forms do not accept GET.
            assert answer.status_code in (200, 405) or path == f"{ROOT}/no/such/page", (path, answer.status_code)
            if not answer.headers["content-type"].startswith("text/html"):
                continue
            pages += 1
            todo += [urlsplit(urljoin(f"http://x{path}", link)).path for link in _LINK.findall(answer.text)]
    assert pages >= 10
    assert f"{ROOT}/static/base.css" in seen
    assert any(path.endswith("/crop") for path in seen)


def test_forms_and_redirects(service: Running) -> None:
    headers = {"X-Forwarded-Prefix": ROOT, "Sec-Fetch-Site": "same-origin"}
    with service.client(headers=headers) as client:
        filled_in = {"email": "admin@example.org", "password": PASSWORD, "next": "/admin/status"}
        answer = client.post("/login", data=filled_in)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/admin/status")
        # Browsers accept a cookie of this name only for the whole host.
        assert "Path=/;" in answer.headers["set-cookie"] + ";"
        answer = client.get("/account", headers={"Accept": "text/html"})
        assert answer.headers["location"] == f"{ROOT}/login?next=/account"
        slash = client.get("/admin/status/")
        assert slash.headers["location"] in (f"{ROOT}/admin/status", f"{ROOT}/login?next=/admin/status/")
        document = client.get(f"{V1}/openapi.json").json()
        assert document["servers"] == [{"url": ROOT}]
        nothing = client.get("/api").json()["detail"]
        assert WHERE_THE_DOCUMENT_IS.format(root=ROOT) in nothing
        problem = client.get(f"{V1}/users").json()
        assert problem["type"] == f"{ROOT}/problems#{problem['code']}"
    with service.client() as client:
        assert "servers" not in client.get(f"{V1}/openapi.json").json()  # nothing is kept of earlier requests


def test_a_redirect_names_no_host(service: Running) -> None:
    with service.client(headers={"Host": "evil.example"}) as client:
        answer = client.get(f"{V1}/users/")
        assert answer.headers["location"] == f"{V1}/users"


HOSTILE = [
    "//evil.example",
    "/\\evil.example",
    "evil",
    "/a//b",
    "/a/../b",
    "/..",
    '/a"b',
    "/a b",
    "/a?b",
    "/a#b",
    "/%0d",
]


@pytest.mark.parametrize("prefix", [*HOSTILE, "/" + "a" * 500, "/a,/b"])
def test_an_invalid_prefix_is_ignored(service: Running, prefix: str) -> None:
    with service.client(headers={"X-Forwarded-Prefix": prefix}) as client:
        answer = client.get("/login")
        assert answer.status_code == 200
        assert 'action="/login"' in answer.text
        assert prefix not in answer.text
    assert usable_prefix(prefix) is None


def test_a_prefix_of_an_untrusted_proxy_is_ignored(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    environment = place.environment | {"PGFACE_TRUSTED_PROXIES": "192.0.2.1"}
    with (
        running(tmp_path_factory.mktemp("untrusting"), environment) as service,
        service.client(headers={"X-Forwarded-Prefix": ROOT}) as client,
    ):
        assert 'action="/login"' in client.get("/login").text
        assert client.get("/").headers["location"] == "/login"


@pytest.mark.parametrize(
    ("address", "proxies", "trusted"),
    [
        ("127.0.0.1", "127.0.0.1,::1", True),
        ("10.1.2.3", "127.0.0.1, 10.0.0.0/8", True),
        ("11.1.2.3", "127.0.0.1, 10.0.0.0/8", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("192.0.2.9", "*", True),
        ("192.0.2.9", "", False),
        (None, "127.0.0.1", False),
        ("not an address", "127.0.0.1", False),
    ],
)
def test_which_proxies_are_trusted(address: str | None, proxies: str, trusted: bool) -> None:
    """The protocol and uvicorn's middleware use the same list."""
    config = Config(FastAPI(), forwarded_allow_ips=proxies)
    config.load()
    with closing(asyncio.new_event_loop()) as loop:
        protocol = BoundedProtocol(config, ServerState(), {}, loop)
    protocol.client = None if address is None else (address, 1)
    protocol.headers, protocol.url = [(b"x-forwarded-prefix", ROOT.encode())], b"/"
    scope: Any = {}
    protocol.scope = scope
    protocol._set_root_path()
    assert scope["root_path"] == (ROOT if trusted else "")
