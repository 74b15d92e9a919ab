"""Hostile clients do not stop the service for others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest
from PIL import Image

from pgface.server.connections import MAX_HEAD_BYTES, MAX_HEADERS
from pgface.settings import MEBI
from support.embedded_server import eventually
from support.pictures import encoded
from support.sentences import photos as says
from support.web_service import V1, Place, Running, file, gallery_for_a_process, running


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        place.environment.update({"PGFACE_WORKERS": "1", "PGFACE_MAX_FACES": "5"})
        yield place


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), place.environment) as service:
        yield service


def answer_to(service: Running, head: bytes, then: bytes = b"", times: int = 0) -> bytes:
    """Send a head and then more bytes repeatedly, and return the response."""
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
        (START + b"X: y\r\n" * (MAX_HEADERS - 2) + b"\r\n", 200),
        (START + b"X: y\r\n" * (MAX_HEADERS - 1) + b"\r\n", 431),
        (START + b"X: " + b"y" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n", 200),
        (START + b"X: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (START.replace(b"/healthz", b"/healthz?" + b"y" * MAX_HEAD_BYTES) + b"\r\n", 431),
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
def test_an_endless_head_does_not_fill_the_memory(service: Running, endless: bytes) -> None:
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    for _ in range(5):
        answer = answer_to(service, START + b"X: ", then=endless, times=20 * MEBI // len(endless))
        assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    assert process.memory_info().rss - before < 30 * MEBI
    assert answer_to(service, START + b"\r\n").startswith(b"HTTP/1.1 200 ")


# Expensive photos


@pytest.fixture(scope="module")
def collage(faces_dir: Path) -> bytes:
    """A picture with 200 small faces."""
    picture, side = Image.new("RGB", (800, 400)), 40
    files = sorted(faces_dir.glob("*/*.jpg"))
    for number in range(200):
        with Image.open(files[number % len(files)]) as photo:
            width, height = photo.size
            face = photo.crop((width // 4, height // 5, width * 3 // 4, height * 4 // 5)).resize((side, side))
        picture.paste(face, (number % 20 * side, number // 20 * side))
    return encoded(picture, "JPEG", quality=80)


WITHOUT_LIMITS = {"PGFACE_WORK_TIMEOUT": "3600", "PGFACE_MAX_FACES": "100000"}
"""Settings without limits, so that a collage takes seconds."""


def test_only_the_largest_of_many_faces_are_embedded(service: Running, place: Place, collage: bytes) -> None:
    with service.client(headers=place.key("identify")) as client:
        answer = client.post(f"{V1}/identify", files={"photo": file(collage)}).json()
        assert len(answer["faces"]) == 5
        assert answer["faces_found"] > 100
        found = client.post(f"{V1}/detect", files={"photo": file(collage)}).json()["faces"]
    assert len(found) == answer["faces_found"]
    areas = [face["box"]["width"] * face["box"]["height"] for face in answer["faces"]]
    # The sides are rounded to a tenth of a pixel.
    assert all(one > 0.98 * next_one for one, next_one in pairwise(areas))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "BMP", "WEBP", "JPEG"])
def test_too_many_pixels_are_refused_before_they_are_decoded(service: Running, place: Place, kind: str) -> None:
    picture = Image.new("L", (5_001, 5_000))
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    with service.client(headers=place.key("identify")) as client:
        answer = client.post(f"{V1}/detect", files={"photo": file(encoded(picture, kind, **options))})
    assert answer.status_code == 413
    assert answer.json()["code"] == "photo-too-large"
    assert says.MAX_UPLOAD_PIXELS.is_in(answer.json()["detail"])


def test_work_ends_at_its_deadline(place: Place, tmp_path: Path, collage: bytes) -> None:
    environment = place.environment | WITHOUT_LIMITS | {"PGFACE_WORK_TIMEOUT": "0.5"}
    with running(tmp_path, environment) as service, service.client(headers=place.key("identify")) as client:
        started = time.monotonic()
        answer = client.post(f"{V1}/identify", files={"photo": file(collage)})
        assert time.monotonic() - started < 5
        assert (answer.status_code, answer.json()["code"]) == (503, "work-timeout")
        assert answer.headers["retry-after"]


def test_work_ends_when_its_client_disconnects(place: Place, tmp_path: Path, collage: bytes) -> None:
    keys = place.key("identify"), place.key("metrics")
    with running(tmp_path, place.environment | WITHOUT_LIMITS) as service:
        request = httpx.Request("POST", f"{service.url}{V1}/identify", files={"photo": file(collage)}, headers=keys[0])
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        for _ in range(6):  # one running request, and some waiting ones
            with service.connect() as connection:
                connection.sendall(f"POST {V1}/identify HTTP/1.1\r\n{head}\r\n".encode() + request.read())
                time.sleep(0.3)
        with service.client(headers=keys[1]) as client:
            assert eventually(lambda: _jobs(client) == 0, 5, 0.1)
        left = [line for line in service.log() if line.get("operation") == "identify"]
        assert [line["status"] for line in left] == [499] * 6
        assert max(line["seconds"] for line in left) < 3


def _jobs(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("pgface_photos_"))


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_ends_running_requests(place: Place, tmp_path: Path, collage: bytes, processes: int) -> None:
    environment = place.environment | WITHOUT_LIMITS | {"PGFACE_SHUTDOWN_TIMEOUT": "2", "PGFACE_REQUEST_TIMEOUT": "600"}
    headers = place.key("identify")
    with (
        running(tmp_path, environment, "--workers", str(processes)) as service,
        ThreadPoolExecutor(12) as pool,
        service.client(headers=headers) as client,
        service.connect() as slow,
        service.connect() as refused,
    ):

        def ask() -> None:
            with suppress(httpx.HTTPError):
                client.post(f"{V1}/identify", files={"photo": file(collage)})

        for _ in range(12):
            pool.submit(ask)
        head = f"POST {V1}/identify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999"
        slow.sendall(f"{head}\r\nAuthorization: {headers['Authorization']}\r\n\r\n".encode())
        refused.sendall(f"{head}\r\n\r\n".encode())
        time.sleep(2)
        started = time.monotonic()
        assert service.end() == 0
        assert time.monotonic() - started < 2 + 6
