"""Processes forked from a process with an open gallery get their own answers, and do not wait forever."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path

import httpx2 as httpx
import pytest

from pgface.gallery import Gallery
from support.commands import TIMEOUT, environment_of, without_settings
from support.photos import Photos

SUPPORT = Path(__file__).parents[1] / "support"
PEOPLE = ("Colin_Powell", "George_W_Bush", "Tony_Blair", "Hugo_Chavez")
REQUESTS = 1_000

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def people(gallery: Gallery, photos: Photos) -> dict[int, str]:
    """The ids and e-mails of four people."""
    for person in PEOPLE:
        gallery.enroll(photos(person, 4), f"{person.lower()}@example.org", face="largest")
    return {user.id: user.email for user in gallery.users()}


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("how", ["fork", "multiprocessing", "prefork"])
def test_every_process_gets_its_own_answers(gallery: Gallery, photos: Photos, how: str) -> None:
    program = SUPPORT / "forking_program.py"
    command = [sys.executable, *map(str, (program, how, 4, REQUESTS // 4, photos("Tony_Blair", 5)))]
    environment = without_settings() | environment_of(gallery.settings)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(answer["reads"] for answer in answers) >= REQUESTS
    assert {answer["process"] for answer in answers} == {0, 1, 2, 3}
    assert [answer["wrong"] for answer in answers] == [0] * len(answers)
    assert all(answer["who"] == ["tony_blair@example.org"] for answer in answers)


@pytest.fixture(params=["sync", "gthread"])
def application(request: pytest.FixtureRequest, gallery: Gallery, tmp_path: Path) -> Iterator[str]:
    """The URL of an application that gunicorn loads before it forks its four workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = ["--threads", "4"] if request.param == "gthread" else []
    command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "4", "-k", request.param, *threads]
    command += ["-b", f"127.0.0.1:{port}", "--chdir", str(SUPPORT), "preloaded_app:app"]
    environment = without_settings() | environment_of(gallery.settings)
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_application_that_is_loaded_before_gunicorn_forks(
    application: str, people: dict[int, str], photos: Photos
) -> None:
    wait_for(application, next(iter(people)))
    numbers = count()
    ids = sorted(people)

    def request() -> Counter[str]:
        outcomes: Counter[str] = Counter()
        with httpx.Client(base_url=application, timeout=30, trust_env=False) as client:
            while (number := next(numbers)) < REQUESTS:
                wanted = ids[number % len(ids)]
                found = client.get(f"/users/{wanted}")
                right = found.status_code == 200 and found.json() == {"id": wanted, "email": people[wanted]}
                outcomes["right" if right else f"{found.status_code} {found.text}"] += 1
        return outcomes

    with ThreadPoolExecutor(8) as clients:
        outcomes = sum(clients.map(lambda _: request(), range(8)), Counter[str]())
    assert outcomes == {"right": REQUESTS}
    photo = photos("Hugo_Chavez", 5).read_bytes()
    with ThreadPoolExecutor(8) as clients:
        found = [
            answer.json()
            for answer in clients.map(
                lambda _: httpx.post(f"{application}/identify", content=photo, timeout=60, trust_env=False), range(16)
            )
        ]
    assert found == [[["hugo_chavez@example.org"]]] * 16


def wait_for(application: str, number: int) -> None:
    end = time.monotonic() + 60
    while True:
        with suppress(httpx.TransportError):
            httpx.get(f"{application}/users/{number}", timeout=30, trust_env=False).raise_for_status()
            return
        assert time.monotonic() < end
        time.sleep(0.1)
