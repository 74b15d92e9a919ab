"""`pgface healthcheck` for a service that is ready, starting, not ready, or not pgface."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgface.database.pool import initialise
from pgface.database.sql import migrations
from pgface.settings import Settings
from support.certificates import make_certificate
from support.commands import Run, environment_of, process_runner, runner, without_settings
from support.embedded_server import eventually
from support.sentences import service as says
from support.serve import serving

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The environment for a gallery with tables and without a model."""
    initialise(settings)
    return environment_of(settings) | {"PGFACE_CONNECT_TIMEOUT": "2"}


@pytest.fixture
def ask() -> Run:
    """Run the health check, only with the settings of the test."""
    return runner({})


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.fixture
def silent() -> Iterator[str]:
    """The port of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@contextmanager
def without_connections(settings: Settings, server: str) -> Iterator[None]:
    assert settings.database_url
    name = str(conninfo_to_dict(settings.database_url.get_secret_value())["dbname"])
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_a_service_that_is_ready_then_not_ready_then_stopped(
    environment: dict[str, str], settings: Settings, postgres: str, ask: Run, tmp_path: Path
) -> None:
    with serving(environment, tmp_path) as service:
        ready, alive = f"{service.url}/readyz", f"{service.url}/healthz"
        port = port_of(service.url)
        # The health check does not use the proxy of the environment.
        proxy = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        assert ask("healthcheck", "--port", port, more=proxy).stdout == says.IS_READY.format(url=ready) + "\n"
        by_variables = {"PGFACE_LISTEN_HOST": "127.0.0.1", "PGFACE_LISTEN_PORT": port, "PGFACE_CERTIFICATE": ""}
        assert ask("healthcheck", more=by_variables).stdout == says.IS_READY.format(url=ready) + "\n"

        with without_connections(settings, postgres):
            refused = ask("healthcheck", "--port", port, code=1)
            assert (refused.stdout, refused.stderr.count("\n")) == ("", 1)
            assert says.NOT_READY.is_in(refused.stderr, url=ready, reason=says.DATABASE_IS_AWAY)
            answers = ask("healthcheck", "--port", port, "--alive").stdout
            assert answers == says.ANSWERS.format(url=alive) + "\n"

        newest = migrations()[-1].version
        table = sql.Identifier(settings.schema_name, "pgface_migrations")
        change = sql.SQL("UPDATE {} SET version = %s WHERE version = %s").format(table)
        assert settings.database_url
        with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as owner:
            owner.execute(change, (newest + 100, newest))
            refused = ask("healthcheck", "--port", port, code=1)
            assert says.NOT_READY.is_in(refused.stderr, url=ready, reason=says.TABLES_ARE_OF_ANOTHER_VERSION)
            owner.execute(change, (newest, newest + 100))
        ask("healthcheck", "--port", port)
        assert service.end() == 0
    refused = ask("healthcheck", "--port", port, code=1)
    assert says.SERVICE_CANNOT_BE_REACHED.is_in(refused.stderr, url=ready, reason="connection refused")


def test_a_service_that_is_starting(environment: dict[str, str], ask: Run, silent: str) -> None:
    # The service listens before it has connected to its database, which never responds here.
    waits = {"PGFACE_DATABASE_URL": f"postgresql://127.0.0.1:{silent}/none", "PGFACE_CONNECT_TIMEOUT": "60"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pgface", "serve", "--port", str(port)]
    with subprocess.Popen(
        command, env=without_settings() | environment | waits, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:

            def refused() -> str:
                return ask("healthcheck", "--port", port, "--timeout", "0.3", code=1).stderr

            url = f"http://127.0.0.1:{port}/readyz"
            assert eventually(lambda: says.NO_ANSWER_WITHIN.is_in(refused(), url=url, seconds="0.3"), 30)
            assert process.poll() is None
        finally:
            process.kill()


def test_tls_of_the_service_and_of_the_check(environment: dict[str, str], ask: Run, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    by_variables = {"PGFACE_CERTIFICATE": str(certificate), "PGFACE_CERTIFICATE_KEY": str(key)}
    with serving(environment | by_variables, tmp_path) as service:
        port = port_of(service.url)
        url = f"https://127.0.0.1:{port}/readyz"
        assert (
            ask("healthcheck", "--port", port, "--certificate", certificate).stdout
            == says.IS_READY.format(url=url) + "\n"
        )
        ask("healthcheck", "--port", port, more=by_variables)
        refused = ask("healthcheck", "--port", port, code=1)
        plain = url.replace("https:", "http:")
        assert says.GIVE_THE_CERTIFICATE_HERE_TOO.is_in(refused.stderr, url=plain)
        assert refused.stderr.count("\n") == 1


class Other(http.server.BaseHTTPRequestHandler):
    """A web server that is not pgface."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_another_program_listens_at_the_port(ask: Run, tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        refused = ask("healthcheck", "--port", port, code=1)
        assert says.NOT_PGFACE.is_in(refused.stderr, url=f"http://127.0.0.1:{port}/readyz", status=404)
        by_tls = ask("healthcheck", "--port", port, "--certificate", certificate, "--timeout", 3, code=1)
        assert says.GIVE_NO_CERTIFICATE_HERE.is_in(by_tls.stderr, url=f"https://127.0.0.1:{port}/readyz")
        server.shutdown()


@pytest.mark.parametrize(
    "options",
    [
        ("--host", "no.such.host.invalid"),
        ("--host", "a" * 70),
        ("--host", "::1", "--port", "1"),
        ("--host", "0.0.0.0", "--port", "1"),  # noqa: S104 - it is requested and not bound
    ],
)
def test_an_address_without_a_service(ask: Run, options: tuple[str, ...]) -> None:
    refused = ask("healthcheck", *options, code=1).stderr
    assert says.SERVICE_CANNOT_BE_REACHED.is_in(refused, url="...", reason="...")
    assert refused.count("\n") == 1


def test_a_service_on_all_networks_is_checked_at_a_local_address(
    environment: dict[str, str], ask: Run, tmp_path: Path
) -> None:
    every = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - for some seconds of the test
    with serving(environment | {"PGFACE_LISTEN_HOST": every}, tmp_path) as service:
        ask("healthcheck", more={"PGFACE_LISTEN_HOST": every, "PGFACE_LISTEN_PORT": port_of(service.url)})


def test_the_check_imports_little() -> None:
    program = (
        "import sys; from pgface.cli import main; sys.argv = ['pgface', 'healthcheck', '--port', '1']\n"
        "try: main()\n"
        "except SystemExit as ended: print(ended.code)\n"
        "print({'numpy', 'cv2', 'psycopg', 'fastapi', 'uvicorn', 'pydantic_settings'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\nset()\n"


def test_no_settings_are_needed(tmp_path: Path) -> None:
    """The check also runs with settings that the service refuses."""
    run = process_runner(
        {"PGFACE_DATABASE_URL": "nonsense", "PGFACE_WORKERS": "none", "PGFACE_LISTEN_PORT": "1"}, tmp_path
    )
    assert says.SERVICE_CANNOT_BE_REACHED.is_in(
        run("healthcheck", code=1).stderr, url="http://127.0.0.1:1/readyz", reason="connection refused"
    )
