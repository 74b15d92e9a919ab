"""`pgface serve` as a process: slow and large bodies, its log, parallel clients, and its end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgface.server.connections import MAX_DISCARDED_BYTES
from pgface.settings import MEBI
from support.embedded_server import eventually
from support.galleries import ODD_SCHEMA
from support.photos import Photos
from support.web_service import (
    PASSWORD,
    V1,
    Place,
    Running,
    base64_of,
    bearer,
    file,
    gallery_for_a_process,
    running,
)

pytestmark = pytest.mark.slow

TIMEOUT = 3
"""The time limit of a body in seconds."""


@pytest.fixture(scope="module")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[Place]:
    limits = {"PGFACE_REQUEST_TIMEOUT": str(TIMEOUT), "PGFACE_WORKERS": "1", "PGFACE_QUEUE_SIZE": "2"}
    with gallery_for_a_process(postgres, tmp_path_factory.mktemp("place"), insightface_pack) as place:
        place.environment.update(limits)
        yield place


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service"), place.environment) as service:
        yield service


# Raw requests


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {V1}{path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """Receive the head of a response, and return the status and the received bytes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := connection.recv(65_536))
        assert more, data
    return int(data.split()[1]), data


def rest_of(connection: socket.socket) -> bytes:
    """Receive all bytes until the service closes the connection."""
    data = b""
    try:
        while more := connection.recv(65_536):
            data += more
    except ConnectionResetError:
        pass
    return data


JSON = "Content-Type: application/json"


def test_a_huge_body_is_refused_before_it_is_sent(service: Running, place: Place) -> None:
    key = f"Authorization: {place.key('identify')['Authorization']}"
    for path, lines, status in (
        ("/identify", (key, JSON), 413),
        ("/identify", (key, "Content-Type: multipart/form-data; boundary=x"), 413),
        ("/auth/login", (JSON,), 413),
        ("/auth/face", (JSON,), 413),
        ("/identify", (JSON,), 401),
        ("/identify", ("Authorization: Bearer x", JSON), 401),
        ("/identify", (key, "Content-Type: text/plain"), 415),
        ("/users", (key, JSON), 403),
        ("/nowhere", (key, JSON), 404),
    ):
        with service.connect() as connection:
            connection.sendall(head(path, *lines, f"Content-Length: {10**12}"))
            found, data = answer_of(connection)
            assert found == status, (path, data)
            assert b"problem+json" in data
            if status == 413:
                rest_of(connection)


def test_a_body_without_a_length_is_refused_at_the_limit(service: Running, place: Place) -> None:
    key = f"Authorization: {place.key('identify')['Authorization']}"
    chunk = b"100000\r\n" + b"A" * MEBI + b"\r\n"
    for path, lines, most in (("/auth/login", (JSON,), 8), ("/identify", (key, JSON), 50)):
        with service.connect() as connection:
            connection.sendall(head(path, *lines, "Transfer-Encoding: chunked"))
            sent = 0
            try:
                while sent < 400:
                    connection.sendall(chunk)
                    sent += 1
            except (ConnectionResetError, BrokenPipeError):
                pass
            # The service reads on so that the client receives the response. Buffers hold some more bytes.
            assert sent <= most + MAX_DISCARDED_BYTES // MEBI, path
    with service.connect() as connection:
        connection.sendall(head("/auth/login", JSON, "Transfer-Encoding: chunked") + chunk[:70_000])
        assert answer_of(connection)[0] == 413


@pytest.mark.parametrize("kind", [JSON, "Content-Type: multipart/form-data; boundary=x"])
def test_a_slow_body(service: Running, place: Place, kind: str) -> None:
    key = f"Authorization: {place.key('identify')['Authorization']}"
    with service.connect() as connection:
        connection.sendall(head("/identify", key, kind, "Content-Length: 1000") + b"--x\r\n")
        status, data = answer_of(connection)
        assert status == 408
        data += rest_of(connection)  # until the service closes the connection
        assert b"request-too-slow" in data


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "])
def test_an_incomplete_head(service: Running, sent: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(sent)
        assert rest_of(connection) == b""


def test_an_incomplete_second_head(service: Running) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(connection)[0] == 200
        rest = connection.recv(65_536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        assert rest_of(connection) == b"", rest


def test_announced_bytes_are_not_reserved(service: Running, photos: Photos, place: Place) -> None:
    headers = place.key("identify")
    idle = [service.connect() for _ in range(20)]
    try:
        for connection in idle:  # 20 times 26 MB are more than may be in memory
            connection.sendall(head("/auth/face", JSON, "Content-Length: 26000000") + b"{")
        with service.client(headers=headers) as client:
            answer = client.post(f"{V1}/identify", files={"photo": file(photos("Tony_Blair", 2).read_bytes())})
            assert answer.status_code == 200, answer.text
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-\x00: y\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    ],
)
def test_invalid_http(service: Running, sent: bytes) -> None:
    with service.connect() as connection:
        try:
            connection.sendall(sent + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while more := connection.recv(65_536):
                data += more
        except (ConnectionResetError, BrokenPipeError):
            return
        assert b"Traceback" not in data
        assert b"HTTP/1.1 500" not in data
    with service.client() as client:
        assert client.get("/healthz").status_code == 200


# Parallel requests


def test_many_parallel_clients(service: Running, place: Place, photos: Photos) -> None:
    headers = place.key("identify", "metrics")
    photo = photos("Tony_Blair", 2).read_bytes()

    def ask(_: int) -> Any:
        with service.client(headers=headers) as client:
            return client.post(f"{V1}/identify", files={"photo": file(photo)})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(48)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 503}  # it accepts one running and two waiting requests
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["code"] == "service-busy"
            assert answer.headers["retry-after"] == "1"
    with service.client(headers=headers) as client:
        text = client.get("/metrics").text
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["pgface_busy_total"] >= sum(answer.status_code == 503 for answer in answers)
    assert found["pgface_photos_waiting"] == found["pgface_photos_in_work"] == 0
    assert ask(0).status_code == 200


# The log


def test_the_metrics_count_the_gallery_after_a_restart(place: Place, photos: Photos, tmp_path: Path) -> None:
    place.owner.enroll(photos("Hugo_Chavez", 4), "hugo@example.org", face="largest")
    key = place.key("metrics", "admin")
    for number in range(2):
        with running(tmp_path / str(number), place.environment) as service, service.client(headers=key) as client:
            families = text_string_to_metric_families(client.get("/metrics").text)
            metrics = {family.name: family.samples[0].value for family in families if family.samples}
            status = client.get(f"{V1}/status").json()
            assert (metrics["pgface_users"], metrics["pgface_embeddings"]) == (status["users"], status["embeddings"])
            assert status["embeddings"] >= 1


def test_the_log_is_json_without_personal_data(place: Place, photos: Photos, tmp_path: Path) -> None:
    email, name, password = "very.secret@example.org", "Very Secret Name", "a very secret password indeed"
    photo = photos("Tony_Blair", 5).read_bytes()
    with running(tmp_path, place.environment) as service, service.client() as client:
        client.post(f"{V1}/auth/register", json={"email": email, "password": password, "name": name})
        client.post(f"{V1}/auth/register", json={"email": email, "password": password, "name": name})
        client.post(f"{V1}/auth/login", json={"email": email, "password": password + "wrong"})
        token = client.post(f"{V1}/auth/login", json={"email": email, "password": password}).json()["token"]
        me = client.get(f"{V1}/auth/me", headers=bearer(token) | {"X-Request-Id": "known-id"}).json()["user"]
        sent = {"photo": file(photo, f"{name}.jpg")}
        client.post(f"{V1}/users/{me['id']}/photos", files=sent, headers=bearer(token))
        client.post(f"{V1}/users/{me['id']}/photos", json={"photo": base64_of(photo)}, headers=bearer(token))
        client.post(f"{V1}/compare", files=sent | {"other": file(b"x", f"{name}.jpg")}, headers=bearer(token))
        client.get(f"{V1}/users?search={email}&{token}={password}", headers=bearer(token))
        client.get(f"/{email}/{token}", headers={"Cookie": f"__Host-pgface={token}", "User-Agent": name})
        key = place.key("admin", "verify")
        client.post(f"{V1}/introspect", data={"token": token}, headers=key)
        client.post(f"{V1}/users", json={"email": email}, headers=key | {"Idempotency-Key": password})
        with place.owner.database.transaction() as connection:  # causes a failure of the service
            connection.execute("ALTER TABLE photos RENAME TO away")
        lost = client.get(f"{V1}/users/{me['id']}/photos", headers=bearer(token))
        with place.owner.database.transaction() as connection:
            connection.execute("ALTER TABLE away RENAME TO photos")
        assert lost.status_code == 503
        with service.connect() as broken:  # disconnects during a body
            broken.sendall(head("/auth/login", JSON, "Content-Length: 100") + f'{{"email": "{email}'.encode())
        assert eventually(
            lambda: any(line.get("operation") == "log_in" and line["status"] == 422 for line in service.log())
        )
        assert service.end() == 0
        lines = service.log()
    text = json.dumps(lines, ensure_ascii=False)
    secrets = [
        email,
        "very.secret",
        name,
        "Secret",
        password,
        token,
        key["Authorization"].split()[1],
        base64_of(photo)[:40],
    ]
    assert [secret for secret in secrets if secret in text] == []
    requests = [line for line in lines if line["message"] == "request"]
    assert {"level", "logger", "time", "request_id", "operation", "status", "seconds", "caller", "method"} <= set(
        requests[0]
    )
    (known,) = [line for line in requests if line["request_id"] == "known-id"]
    assert (known["operation"], known["status"], known["caller"]) == ("get_me", 200, f"user {me['id']}")
    failures = [line for line in lines if line["level"] == "ERROR"]
    assert failures
    assert all(line["request_id"] == lost.headers["x-request-id"] for line in failures)
    assert not any(line["status"] >= 500 for line in requests if line["operation"] != "list_photos")


# The end


def test_a_running_enrollment_is_finished_before_the_end(place: Place, photos: Photos, tmp_path: Path) -> None:
    headers = place.key("enroll") | {"Idempotency-Key": "the end"}
    url = place.owner.settings.database_url
    assert url
    with running(tmp_path, place.environment) as service, ThreadPoolExecutor(1) as other:

        def enroll() -> Any:
            with service.client(headers=headers) as client:
                sent = {"photo": file(photos("Colin_Powell", 2).read_bytes())}
                return client.post(f"{V1}/photos", files=sent, data={"email": "end@example.org"})

        with psycopg.connect(url.get_secret_value()) as holder:
            holder.execute(
                f'LOCK TABLE "{ODD_SCHEMA.replace(chr(34), chr(34) * 2)}".face_embeddings IN SHARE MODE'.encode()
            )
            answer = other.submit(enroll)
            waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            assert eventually(lambda: holder.execute(waits).fetchone() is not None, 30)
            service.process.terminate()
            assert eventually(lambda: any("Shutting down" in line["message"] for line in service.log()), 30)
            assert service.process.poll() is None
            assert not answer.done()
            holder.rollback()
        assert answer.result().status_code == 201, answer.result().text
        assert service.process.wait(60) == 0
    user = answer.result().json()["user"]
    (photo,) = place.owner.photos(user["id"])
    assert place.owner.crop(photo)
    assert user["embeddings"] == 1
    with running(tmp_path / "again", place.environment) as service, service.client(headers=headers) as client:
        sent = {"photo": file(photos("Colin_Powell", 2).read_bytes())}
        again = client.post(f"{V1}/photos", files=sent, data={"email": "end@example.org"})
    assert again.json() == answer.result().json()
    assert again.headers["idempotent-replayed"] == "true"


def test_an_incomplete_body_does_not_delay_the_end(place: Place, tmp_path: Path) -> None:
    with running(tmp_path, place.environment) as service, service.connect() as connection:
        connection.sendall(head("/auth/login", JSON, "Content-Length: 100") + b"{")
        assert service.end() == 0


def test_a_port_in_use(service: Running, place: Place, tmp_path: Path) -> None:
    taken = running(tmp_path, place.environment, "--port", str(service.port))
    with pytest.raises(AssertionError) as caught, taken:
        pytest.fail("it runs")
    assert "Traceback" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
