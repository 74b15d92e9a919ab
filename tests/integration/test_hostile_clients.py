"""Clients that mean harm: what one of them sends must not stop the service for the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pgface.server.connections import MOST_HEAD_BYTES, MOST_HEADERS
from pgface.settings import MEBI
from support.web_service import Place, Running, gallery_for_a_process, running


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        place.environment["PGFACE_WORKERS"] = "1"
        yield place


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), place.environment) as service:
        yield service


def answer_to(service: Running, head: bytes, then: bytes = b"", times: int = 0) -> bytes:
    """What the service answers to a head, and to more bytes that come again and again while it takes them."""
    data = b""
    with service.connect() as connection, suppress(ConnectionError):
        with suppress(ConnectionError):
            connection.sendall(head)
            for _ in range(times):
                connection.sendall(then)
        while more := connection.recv(65_536):
            data += more
    return data


START = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (START + b"\r\n", 200),
        (START + b"X: y\r\n" * (MOST_HEADERS - 2) + b"\r\n", 200),
        (START + b"X: y\r\n" * (MOST_HEADERS - 1) + b"\r\n", 431),
        (START + b"X: " + b"y" * (MOST_HEAD_BYTES - 200) + b"\r\n\r\n", 200),
        (START + b"X: " + b"y" * MOST_HEAD_BYTES + b"\r\n\r\n", 431),
        (START.replace(b"/healthz", b"/healthz?" + b"y" * MOST_HEAD_BYTES) + b"\r\n", 431),
    ],
    ids=["few", "many", "too many", "large", "too large", "a long path"],
)
def test_a_head_has_limits(service: Running, head: bytes, status: int) -> None:
    answer = answer_to(service, head)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    if status == 431:
        assert b"application/problem+json" in answer
        assert b'"head-too-large"' in answer


@pytest.mark.parametrize("endless", [b"X: y\r\n" * 1_000, b"y" * 60_000], ids=["headers", "one header"])
def test_a_head_without_an_end_fills_no_memory(service: Running, endless: bytes) -> None:
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    for _ in range(5):
        answer = answer_to(service, START + b"X: ", then=endless, times=20 * MEBI // len(endless))
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    assert process.memory_info().rss - before < 30 * MEBI
    assert answer_to(service, START + b"\r\n").startswith(b"HTTP/1.1 200 ")
