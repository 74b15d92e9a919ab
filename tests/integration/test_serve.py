"""`pgface serve` in its own processes: how it starts, its errors, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import connected, initialise
from pgface.errors import DatabaseUnreachableError
from pgface.gallery import Gallery
from pgface.server.run import prepare
from pgface.settings import Settings
from support.certificates import make_certificate
from support.commands import environment_of, process_runner, runner
from support.devices import need_azure
from support.embedded_server import eventually, lives
from support.galleries import ODD_SCHEMA, add_embedding, add_user, axis
from support.sentences import database
from support.sentences import models as models_says
from support.sentences import service as says
from support.sentences.gallery import RUN_INIT
from support.serve import serving_anew
from support.service_role import service_role

pytestmark = pytest.mark.slow

READY = {"ready": True, "database": True, "schema_current": True, "model": True, "replica": None}


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """The environment for a gallery with tables and without a model, such as `deploy/init.sql` creates."""
    initialise(settings)
    (tmp_path / "tmp").mkdir()
    return environment_of(settings) | {"PGFACE_CONNECT_TIMEOUT": "1", "TMPDIR": str(tmp_path / "tmp")}


def temporary_files(folder: Path) -> list[str]:
    return [path.name for path in (folder / "tmp").iterdir() if path.name.startswith("pgface")]


# Start and end


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_process_binds_a_new_gallery_and_serves(
    environment: dict[str, str], tmp_path: Path, by: signal.Signals
) -> None:
    with serving_anew(environment, tmp_path) as service:
        assert service.announcement.startswith(says.SERVING.format(model="sface", url="http://127.0.0.1:"))
        assert httpx.get(f"{service.url}/readyz").json() == READY
        assert temporary_files(tmp_path)
        assert service.end(by) == 0
    log = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert "Application shutdown complete." in [line["message"] for line in log]
    assert temporary_files(tmp_path) == []
    status = json.loads(runner(environment)("status", "--json").stdout)
    assert status["model"] == "sface"


def test_a_running_request_is_finished_first(environment: dict[str, str], tmp_path: Path) -> None:
    with serving_anew(environment, tmp_path) as service:
        host, port = service.url.removeprefix("http://").split(":")
        body = b'{"email":"a@example.org","password":"wrong words, all of them"}'
        head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
            httpx.get(f"{service.url}/healthz")  # ensures that the request has started
            service.process.send_signal(signal.SIGTERM)
            assert eventually(lambda: "Shutting down" in service.log.read_text())
            client.sendall(body[10:])
            assert client.recv(100).startswith(b"HTTP/1.1 401 ")
        assert service.end() == 0


def test_the_embedded_server_is_created_started_and_stopped(tmp_path: Path) -> None:
    environment = {"PGFACE_DATA_DIR": str(tmp_path / "data")}
    with serving_anew(environment, tmp_path) as service:
        assert httpx.get(f"{service.url}/readyz").json() == READY
        assert service.end() == 0
    assert not (tmp_path / "data" / "postgres" / "data" / "postmaster.pid").exists()


def test_tls(environment: dict[str, str], tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with serving_anew(environment, tmp_path, "--certificate", certificate, "--key", key) as service:
        assert service.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=certificate)
        assert httpx.get(f"{service.url}/readyz", verify=trusting).json() == READY
        with pytest.raises(httpx.ConnectError, match="self-signed"):
            httpx.get(f"{service.url}/readyz")


def test_several_processes_share_a_port_and_sighup_restarts_them(environment: dict[str, str], tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    first = ssl.PEM_cert_to_DER_cert(certificate.read_text())

    def served(url: str) -> bytes:
        anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
        host, port = url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port))) as plain, anything.wrap_socket(plain) as secure:
            return secure.getpeercert(binary_form=True) or b""

    with serving_anew(environment, tmp_path, "--workers", 2, "--certificate", certificate, "--key", key) as service:
        trusting = ssl.create_default_context(cafile=certificate)
        assert httpx.get(f"{service.url}/readyz", verify=trusting, timeout=60).json() == READY
        assert served(service.url) == first
        make_certificate(tmp_path)
        service.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: service.log.read_text().count("Finished server process") == 2, 60)
        assert served(service.url) == ssl.PEM_cert_to_DER_cert(certificate.read_text()) != first
        children = psutil.Process(service.process.pid).children(recursive=True)
        assert len(children) >= 2
        assert service.end(signal.SIGINT) == 0
    assert eventually(lambda: not any(lives(child) for child in children))
    assert temporary_files(tmp_path) == []


def test_ipv6(environment: dict[str, str], tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving_anew(environment, tmp_path, "--host", "::1") as service:
        assert service.url.startswith("http://[::1]:")
        assert httpx.get(f"{service.url}/readyz").json() == READY


def test_the_service_waits_for_a_database_that_is_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    with server:
        settings = Settings.model_validate({"database_url": server.url, "data_dir": tmp_path / "data"})
        initialise(settings)
    with pytest.raises(DatabaseUnreachableError):
        Gallery.open(settings)
    waited = []

    def start_meanwhile(seconds: float) -> None:
        waited.append(seconds)
        monkeypatch.undo()
        server.start()

    monkeypatch.setattr(time, "sleep", start_meanwhile)
    try:
        with prepare(settings) as gallery:
            assert gallery.config.model_name == "sface"
        assert len(waited) == 1
    finally:
        server.stop(force=True)


# Errors


@pytest.fixture
def refused(environment: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a service that cannot start, and returns its error."""
    run = process_runner(environment, tmp_path)

    def serve(*options: object, **variables: str) -> str:
        done = run("serve", "--port", "0", *options, code=1, more=variables)
        assert done.stdout == ""
        (sentence,) = done.stderr.splitlines()
        assert temporary_files(tmp_path) == []
        return sentence

    return serve


def test_a_device_that_runs_nothing(refused: Callable[..., str]) -> None:
    need_azure()
    sentence = refused(PGFACE_EXECUTION_PROVIDER="AzureExecutionProvider,CPUExecutionProvider")
    assert models_says.PROVIDER_RUNS_NOTHING.is_in(sentence, provider="Azure", network="...onnx", steps="...on CPU")


def test_addresses_and_certificates(refused: Callable[..., str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        in_use = says.COMMAND_CANNOT_LISTEN.format(host="127.0.0.1", port=port, reason="address already in use")
        assert in_use in refused("--port", port)
    no_address = says.HOST_HAS_NO_ADDRESS.format(host="no-such-host.invalid")
    assert refused("--host", "no-such-host.invalid").startswith(no_address)
    missing = tmp_path / "missing.pem"
    unreadable = says.FILES_CANNOT_BE_READ.format(files=missing, reason="no such file or directory")
    assert unreadable in refused("--certificate", missing)


def test_without_the_packages_of_the_service(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError(name='fastapi')")
    assert refused(PYTHONPATH=str(tmp_path)) == says.PACKAGE_IS_MISSING.format(package="fastapi")


def test_without_a_database(refused: Callable[..., str]) -> None:
    assert database.SERVER_CANNOT_BE_REACHED in refused(PGFACE_DATABASE_URL="postgresql://127.0.0.1:1/nothing")


def test_without_a_gallery(refused: Callable[..., str]) -> None:
    assert refused(PGFACE_SCHEMA="elsewhere").endswith(f"{RUN_INIT}.")


def test_without_the_model(refused: Callable[..., str], settings: Settings, insightface_pack: Path) -> None:
    not_installed = says.MODEL_IS_NOT_INSTALLED.format(model="buffalo_l")
    assert refused(PGFACE_MODEL="buffalo_l").startswith(not_installed)
    with Gallery.create(settings, model=str(insightface_pack)):
        pass
    assert "buffalo_sc_q8" in refused(PGFACE_DATA_DIR=str(settings.data_dir.parent / "other"))


def test_embeddings_of_an_unknown_model_are_not_bound(refused: Callable[..., str], settings: Settings) -> None:
    with connected(settings) as connection:
        connection.execute("SELECT set_config('search_path', quote_ident(%s) || ', public', false)", (ODD_SCHEMA,))
        add_embedding(connection, add_user(connection, "a@example.org"), axis(1))
    assert refused().endswith(says.MODEL_OF_THE_EMBEDDINGS_IS_UNKNOWN)
    with Gallery.open(settings) as gallery:
        assert gallery.config.model_name is None


def test_the_service_role_does_not_bind_a_gallery(
    refused: Callable[..., str], settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    with service_role(settings) as of_service:
        as_service = environment_of(of_service) | {"PGFACE_CONNECT_TIMEOUT": "1"}
        assert refused(**as_service).endswith(says.ROLE_MAY_NOT_BIND)
        runner(environment)("init")
        with serving_anew(environment | as_service, tmp_path) as service:
            assert httpx.get(f"{service.url}/readyz").json() == READY


BROKEN = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette

@asynccontextmanager
async def lifespan(app):
    raise RuntimeError("the gallery went away meanwhile")
    yield

def create_app():
    return Starlette(lifespan=lifespan)
"""


@pytest.mark.parametrize("how", ["_run_here", "_run_in_several"])
def test_a_failure_after_the_start_ends_the_service(tmp_path: Path, how: str) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    program = f"""
import uvicorn
from pgface.server import run
from pgface.server.sockets import Listening

if __name__ == "__main__":
    with Listening("127.0.0.1", 0).sockets() as sockets:
        run.{how}(uvicorn.Config("broken:create_app", factory=True, workers=2), sockets)
"""
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.endswith(f"PgfaceError: {says.COULD_NOT_START}\n")
