"""`pgface serve --workers 2` on an embedded PostgreSQL: two processes act as one service."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgface.accounts import Accounts, Client, create_key
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.embedded_server import eventually
from support.moving_heads import MovingHead, follow
from support.photos import Photos
from support.web_service import PASSWORD, V1, Headers, Running, base64_of, bearer, running

pytestmark = pytest.mark.slow

EMAIL = "bush@example.org"


@dataclass(frozen=True)
class TwoWorkers:
    """A service with two worker processes, and the gallery, opened as its owner."""

    owner: Gallery
    service: Running

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = psutil.Process(self.service.process.pid).children(recursive=True)
        listening = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return sorted(child.pid for child in listening)

    def ask(self, worker: int, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Any:
        """Send a request to this worker. The operating system gives each connection to one of the workers."""
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
            try:
                connection.connect()
                if self._worker_of(connection) == worker:
                    data = None if body is None else json.dumps(body)
                    connection.request(method, path, data, {"Content-Type": "application/json"} | (headers or {}))
                    answer = connection.getresponse()
                    return answer.status, answer.read().decode()
            finally:
                connection.close()
        raise AssertionError("this worker accepts no connections")

    def _worker_of(self, connection: http.client.HTTPConnection) -> int | None:
        own = connection.sock.getsockname()
        found: list[int] = []

        def accepted() -> bool:
            for worker in self.workers():
                peers = [other.raddr for other in psutil.Process(worker).net_connections("tcp") if other.raddr]
                if any((peer.ip, peer.port) == own for peer in peers):
                    found.append(worker)
            return bool(found)

        return found[0] if eventually(accepted, 5) else None


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path) -> Iterator[TwoWorkers]:
    folder = tmp_path_factory.mktemp("two")
    settings = Settings(data_dir=folder / "data", database_url=None)
    environment = {"PGFACE_DATA_DIR": str(folder / "data"), "PGFACE_WORKERS": "1"}
    with (
        Gallery.create(settings, model=str(insightface_pack)) as owner,
        running(folder / "service", environment, "--workers", "2") as service,
    ):
        two = TwoWorkers(owner, service)
        assert eventually(lambda: len(two.workers()) == 2, 60)
        yield two
        assert service.end() == 0
        assert not [line for line in service.log() if line["level"] == "ERROR"]


def test_challenges_and_logins_are_valid_in_both_workers(two: TwoWorkers, photos: Photos) -> None:
    one, other = two.workers()
    accounts = Accounts(two.owner)
    accounts.register(EMAIL, PASSWORD)
    two.owner.enroll(photos("George_W_Bush", 7), EMAIL)
    status, text = two.ask(one, "POST", f"{V1}/auth/challenge", {"email": EMAIL, "password": PASSWORD})
    assert status == 200
    challenge, turns = json.loads(text), cycle((other, one))

    def answer(frames: list[bytes]) -> Any:
        body = {"challenge": challenge["token"], "frames": [base64_of(frame) for frame in frames]}
        status, text = two.ask(next(turns), "POST", f"{V1}/auth/face", body)
        answered = json.loads(text)
        assert status in (200, 202), text
        return answered["pose"] if status == 202 else answered["token"].encode()

    token = follow(MovingHead(two.owner.faces, photos("George_W_Bush", 6)).look, answer, challenge["pose"]).decode()
    headers = bearer(token)
    for worker in (one, other):
        assert two.ask(worker, "GET", f"{V1}/auth/me", headers=headers)[0] == 200
    used = {"challenge": challenge["token"], "frames": [base64_of(b"x")]}
    assert two.ask(one, "POST", f"{V1}/auth/face", used)[0] == 401  # a challenge can be used once
    assert two.ask(one, "POST", f"{V1}/auth/logout", headers=headers)[0] == 204
    assert two.ask(other, "GET", f"{V1}/auth/me", headers=headers)[0] == 401


def test_the_workers_share_limits_and_metrics(two: TwoWorkers) -> None:
    key = bearer(create_key(two.owner.database, "a program", ["metrics"], Client())[0])
    one, other = two.workers()
    before = _refusals(two, one, key)
    wrong = {"email": "nobody@example.org", "password": "x"}
    statuses = [two.ask(worker, "POST", f"{V1}/auth/login", wrong)[0] for worker in (one, other, one, other, one)]
    assert statuses == [401] * 5
    with two.owner.database.transaction() as connection:  # the first wait is a second, and a busy machine takes longer
        connection.execute("UPDATE login_attempts SET last_failure = last_failure + INTERVAL '1 hour'")
    assert two.ask(other, "POST", f"{V1}/auth/login", wrong)[0] == 429
    with two.owner.database.transaction() as connection:
        connection.execute("DELETE FROM login_attempts")
    for worker in (one, other):
        assert _refusals(two, worker, key) == before + 5


def _refusals(two: TwoWorkers, worker: int, key: Headers) -> float:
    status, text = two.ask(worker, "GET", "/metrics", headers=key)
    assert status == 200
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    wanted = {"method": "password", "outcome": "refused"}
    return sum(one.value for one in samples if one.name == "pgface_logins_total" and one.labels == wanted)


def test_a_request_that_is_repeated_at_the_other_worker(two: TwoWorkers) -> None:
    key = bearer(create_key(two.owner.database, "a program", ["enroll"], Client())[0])
    one, other = two.workers()
    headers = key | {"Idempotency-Key": "1"}
    body = {"email": "ana@example.org"}
    first, again = (two.ask(worker, "POST", f"{V1}/users", body, headers) for worker in (one, other))
    assert (first[0], again[0]) == (201, 201)
    assert json.loads(first[1]) == json.loads(again[1])
