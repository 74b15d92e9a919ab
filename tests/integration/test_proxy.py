"""The proxies of the documentation in front of a service: TLS, limits, and trusted addresses."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pgface.accounts import Accounts, read_audit
from pgface.gallery import Gallery
from pgface.server.request_limits import MAX_FIELD_BYTES
from pgface.settings import MEBI, Settings
from support.certificates import make_certificate
from support.commands import environment_of
from support.databases import Template
from support.documentation import blocks
from support.embedded_server import eventually
from support.serve import Served, serving

pytestmark = pytest.mark.slow

CLIENT = "127.0.0.9"
"""The address of the client. The proxy and the service are at 127.0.0.1."""


@pytest.fixture
def template(schema_name: str) -> Template:
    """A gallery with the model sface, which needs no download."""
    return Template(schema_name, "sface")


@pytest.fixture
def gallery(settings: Settings) -> Iterator[Gallery]:
    with Gallery.open(settings) as gallery:
        Accounts(gallery).register("siti@example.org", "four plain words here")
        yield gallery


@pytest.fixture
def service(gallery: Gallery, tmp_path: Path) -> Iterator[Served]:
    with serving(environment_of(gallery.settings) | {"PGFACE_CONNECT_TIMEOUT": "1"}, tmp_path) as service:
        yield service


def documented(language: str) -> str:
    """Return the configuration of a proxy in the documentation."""
    # The first block is a whole configuration, and later ones are parts.
    block, *_ = [block.text for block in blocks("behind-a-proxy.md") if block.language == language]
    return block


def replaced(text: str, *changes: tuple[str, str]) -> str:
    for theirs, here in changes:
        assert text.count(theirs) == 1, theirs
        text = text.replace(theirs, here)
    return text


@contextmanager
def nginx(service: Served, folder: Path, port: int) -> Iterator[Path]:
    certificate, key = make_certificate(folder)
    site = replaced(
        documented("nginx"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("faces.example.org", "localhost"),
        ("/etc/ssl/faces.pem", str(certificate)),
        ("/etc/ssl/faces.key", str(key)),
        ("http://127.0.0.1:8000", service.url),
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    file = folder / "nginx.conf"
    head = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;\nevents {{}}\n"
    file.write_text(f"{head}http {{\naccess_log off;\n{folders}{site}}}\n")
    with _running(["nginx", "-e", str(folder / "log"), "-c", str(file)], folder, port):
        yield certificate


@contextmanager
def caddy(service: Served, folder: Path, port: int) -> Iterator[Path]:
    certificate, key = make_certificate(folder)
    file = folder / "Caddyfile"
    site = replaced(
        documented("caddy"),
        ("    servers {", "    admin off\n    auto_https off\n    servers {"),
        ("faces.example.org {", f"https://localhost:{port} {{\n    bind 127.0.0.1\n    tls {certificate} {key}"),
        ("127.0.0.1:8000", service.url.removeprefix("http://")),
    )
    file.write_text(site)
    with _running(["caddy", "run", "--config", str(file), "--adapter", "caddyfile"], folder, port):
        yield certificate


@contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    program = shutil.which(command[0], path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    home = {"HOME": str(folder), "PATH": "/usr/bin"}
    with (
        (folder / "output").open("w") as output,
        subprocess.Popen([program, *command[1:]], env=home, cwd=folder, stdout=output, stderr=output) as process,
    ):
        try:
            assert eventually(lambda: _answers(port) or process.poll() is not None, 30)
            assert process.poll() is None, (folder / "output").read_text()
            yield
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_the_documented_proxy(proxy: object, gallery: Gallery, service: Served, tmp_path: Path) -> None:
    assert callable(proxy)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder := tmp_path / "proxy").mkdir()
    with proxy(service, folder, port) as certificate:
        trusting = ssl.create_default_context(cafile=certificate)
        transport = httpx.HTTPTransport(verify=trusting, local_address=CLIENT)
        with httpx.Client(base_url=f"https://localhost:{port}", transport=transport, timeout=60) as client:
            ready = client.get("/readyz")
            assert ready.json()["ready"] is True
            assert ready.headers["Strict-Transport-Security"] == "max-age=31536000"

            # The client's own address is recorded, and not the one that it claims.
            wrong = {"email": "siti@example.org", "password": "other words than these"}
            claims = {"X-Forwarded-For": "192.0.2.99", "X-Forwarded-Proto": "http"}
            assert client.post("/api/v1/auth/login", json=wrong, headers=claims).status_code == 401
            (entry,) = read_audit(gallery.database, event="login by password")
            assert entry.address == CLIENT

            # A form of the service's pages, from a browser that sends only its origin.
            form = {"language": "id", "next": "/"}
            for origin, status in ((f"https://localhost:{port}", 303), ("https://elsewhere.example", 403)):
                assert client.post("/language", data=form, headers={"Origin": origin}).status_code == status

            # The proxy passes the largest request that the service accepts.
            body = b" " * (2 * 30 * MEBI * 4 // 3 + 8 + MAX_FIELD_BYTES)
            headers = {"Content-Type": "application/json"}
            answer = client.post("/api/v1/compare", content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")
            if proxy is nginx:  # the other proxy has no limit
                answer = client.post("/api/v1/compare", content=body + b" " * 2 * MEBI, headers=headers)
                assert (answer.status_code, "code" in answer.text) == (413, False)
    assert re.search(rf"{CLIENT}|192\.0\.2\.99", service.log.read_text()) is None
