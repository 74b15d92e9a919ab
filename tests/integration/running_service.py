"""`pgface serve` as a process that a test may kill, and clients that do not give up."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import psutil

from pgface.settings import Settings

_STARTS_IN = 60
_BOUNDARY = "a-boundary-of-the-tests"


class RunningService:
    """The service on a port of loopback; it writes its log into a file."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def workers(self) -> set[int]:
        """Ids of the processes that serve, where there are several."""
        found = set()
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False


@contextmanager
def serving(settings: Settings, log: Path, workers: int = 1, **variables: str) -> Iterator[RunningService]:
    """Start the service, and end it if it still runs."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    command = [sys.executable, "-m", "pgface", "serve", "--port", str(port), "--workers", str(workers)]
    assert settings.database_url is not None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}
    environment |= {
        "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PGFACE_SCHEMA": settings.schema_name,
        "PGFACE_DATA_DIR": str(settings.data_dir),
        **variables,
    }
    with log.open("ab") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as process:
        service = RunningService(process, port)
        try:
            end = time.monotonic() + _STARTS_IN
            while not service.is_ready():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            yield service
        finally:
            process.terminate()
            process.wait(_STARTS_IN)


@dataclass(frozen=True, slots=True)
class Job:
    """A photo to enroll, with the key by which the request is known when it comes again."""

    email: str
    photo: bytes = field(repr=False)
    key: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Enrollers:
    """Clients that enroll at once; what is not answered, or answered with 'later', is left over."""

    port: int
    api_key: str
    jobs: SimpleQueue[Job] = field(default_factory=SimpleQueue)
    answers: dict[str, Answer] = field(default_factory=dict)
    """By the job's key; written by many threads, each its own."""
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, jobs: Sequence[Job], clients: int) -> None:
        for job in jobs:
            self.jobs.put(job)
        self.threads = [threading.Thread(target=self._enroll, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(_STARTS_IN)
            assert not thread.is_alive()

    def done(self) -> int:
        return len(self.answers)

    def _enroll(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_STARTS_IN)
        while True:
            try:
                job = self.jobs.get_nowait()
            except Empty:
                connection.close()
                return
            # A killed process resets the connection; the next request is made on a new one.
            with suppress(OSError, http.client.HTTPException):
                self.answers[job.key] = enroll(connection, self.api_key, job)
                continue
            connection.close()


def enroll(connection: http.client.HTTPConnection, api_key: str, job: Job) -> Answer:
    fields = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="email"\r\n\r\n{job.email}\r\n'
    fields += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="face"\r\n\r\nlargest\r\n'
    fields += f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n\r\n'
    body = fields.encode() + job.photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
    headers = {
        "Authorization": f"Bearer {api_key}",
        "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        "Idempotency-Key": job.key,
    }
    connection.request("POST", "/api/v1/photos", body, headers)
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(response.read()))
