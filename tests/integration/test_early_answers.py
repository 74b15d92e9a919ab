"""An early response reaches every client, and the connection is closed soon."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest
import requests

from pgface.server.connections import IDLE_SECONDS, MAX_DISCARDED_BYTES
from pgface.settings import MEBI
from support.web_service import V1, Headers, Place, Running, gallery_for_a_process, running

TIMEOUT = 4
"""The time limit of a body in seconds."""
TOO_LARGE = 40 * MEBI
CASES = [("no key", 20 * MEBI, 401), ("a key", TOO_LARGE, 413)]


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        place.environment.update({"PGFACE_REQUEST_TIMEOUT": str(TIMEOUT), "PGFACE_WORKERS": "1"})
        yield place


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), place.environment) as service:
        yield service


@pytest.fixture(params=CASES, ids=[f"{who}, {status}" for who, _, status in CASES])
def refused(request: pytest.FixtureRequest, place: Place) -> tuple[Headers, int, int]:
    """Return headers, the length of the body, and the expected status."""
    who, size, status = request.param
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return headers | (place.key("identify") if who == "a key" else {}), size, status


def test_urllib(service: Running, refused: tuple[Headers, int, int]) -> None:
    headers, size, status = refused
    asked = urllib.request.Request(f"{service.url}{V1}/identify", bytes(size), headers)  # noqa: S310 - loopback
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(asked, timeout=30)  # noqa: S310
    assert error.value.code == status
    assert json.load(error.value)["status"] == status


@pytest.mark.parametrize("chunked", [False, True])
def test_requests(service: Running, refused: tuple[Headers, int, int], chunked: bool) -> None:
    headers, size, status = refused
    body = (bytes(MEBI) for _ in range(size // MEBI)) if chunked else bytes(size)
    if chunked and status == 413:
        status = 422  # the length is unknown, and the first bytes are not a form
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{service.url}{V1}/identify", data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_httpx(service: Running, refused: tuple[Headers, int, int]) -> None:
    headers, size, status = refused
    with httpx.Client(trust_env=False, timeout=30) as client:
        for _ in range(2):  # the second time on the same connection, if it stays open
            answer = client.post(f"{service.url}{V1}/identify", content=bytes(size), headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_curl(service: Running, refused: tuple[Headers, int, int], tmp_path: Path, expect: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    headers, size, status = refused
    (tmp_path / "body").write_bytes(bytes(size))
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    url = f"{service.url}{V1}/identify"
    done = subprocess.run(
        [curl, "-sS", "--noproxy", "*", "-w", "\n%{http_code}", *lines, "-H", expect, "--data-binary", "@body", url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, str(status)), done.stderr
    assert json.loads(done.stdout.splitlines()[0])["status"] == status


def test_node(service: Running, refused: tuple[Headers, int, int]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    headers, size, status = refused
    program = """
        const [url, headers, size] = process.argv.slice(1);
        for (let i = 0; i < 5; i++) {
            const body = new Blob([new Uint8Array(Number(size))]);
            const answer = await fetch(url, {method: 'POST', body, headers: JSON.parse(headers)});
            console.log(answer.status, (await answer.json()).status);
        }"""
    done = subprocess.run(
        [node, "--input-type=module", "-e", program, f"{service.url}{V1}/identify", json.dumps(headers), str(size)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == [str(status)] * 10, done.stderr


def test_a_client_that_sends_all_before_it_reads(service: Running, refused: tuple[Headers, int, int]) -> None:
    headers, size, status = refused
    with service.connect() as connection:
        connection.sendall(head_of(headers, size) + bytes(size))
        assert answer_of(connection).startswith(f"HTTP/1.1 {status} ".encode())


def test_the_refusal_of_a_large_head_reaches_the_client(service: Running) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * MEBI + b"\r\n\r\n")
        assert answer_of(connection).startswith(b"HTTP/1.1 431 ")


# Hostile clients


def head_of(headers: Headers, size: int) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Host": "localhost", "Content-Length": size, **headers}.items()]
    return "\r\n".join([f"POST {V1}/identify HTTP/1.1", *lines, "", ""]).encode()


def answer_of(connection: socket.socket) -> bytes:
    """Receive bytes until the connection is closed or a response has ended."""
    data = b""
    while not data.endswith(b"}"):
        data += (more := connection.recv(65_536))
        if not more:
            break
    return data


def seconds_until_closed(connection: socket.socket, chunk: bytes, pause: float, most: float) -> float:
    """Send until the service closes the connection."""
    started = time.monotonic()
    connection.settimeout(0.01)
    while time.monotonic() - started < most:
        try:
            connection.sendall(chunk)
        except TimeoutError:
            continue
        except OSError:
            break
        time.sleep(pause)
    return time.monotonic() - started


def test_a_client_that_continues_slowly_is_disconnected(service: Running, refused: tuple[Headers, int, int]) -> None:
    headers, size, _ = refused
    with service.connect() as connection:
        connection.sendall(head_of(headers, size))
        assert answer_of(connection)
        assert seconds_until_closed(connection, b"y", 0.2, 3 * TIMEOUT) < TIMEOUT + 2


def test_a_client_that_continues_forever_is_disconnected(service: Running, place: Place) -> None:
    size = 10 * MAX_DISCARDED_BYTES
    sent = 0
    with service.connect() as connection:
        connection.sendall(head_of(place.key("identify"), size))
        with suppress(OSError):
            while sent < size:
                connection.sendall(bytes(MEBI))
                sent += MEBI
    assert sent < 2 * MAX_DISCARDED_BYTES


def test_an_idle_client_is_disconnected(service: Running, refused: tuple[Headers, int, int]) -> None:
    headers, size, _ = refused
    with service.connect() as connection:
        connection.sendall(head_of(headers, size))
        assert answer_of(connection)
        connection.settimeout(max(IDLE_SECONDS, TIMEOUT) + 3)
        with suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass


def test_a_connection_is_used_again_after_the_rest_of_a_body(service: Running) -> None:
    with service.connect() as connection:
        connection.sendall(head_of({"Content-Type": "application/json"}, 1000) + bytes(500))
        assert answer_of(connection).startswith(b"HTTP/1.1 401 ")
        connection.sendall(bytes(500) + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
        connection.settimeout(TIMEOUT + 4)
        assert connection.recv(65_536) == b""  # the connection is closed after some time
