"""Clients that enroll at the same time, and try again when the service was killed."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

_TIMEOUT_SECONDS = 60
_BOUNDARY = "a-boundary-of-the-tests"


@dataclass(frozen=True, slots=True)
class Job:
    """A photo to enroll, with the idempotency key of its request."""

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
    """Clients that enroll at the same time. Jobs without an answer stay undone."""

    url: str
    api_key: str
    jobs: SimpleQueue[Job] = field(default_factory=SimpleQueue)
    answers: dict[str, Answer] = field(default_factory=dict)
    """The answer to each job, by its key. Each thread writes only keys of its own jobs."""
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, jobs: Sequence[Job], clients: int) -> None:
        for job in jobs:
            self.jobs.put(job)
        self.threads = [threading.Thread(target=self._enroll, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(_TIMEOUT_SECONDS)
            assert not thread.is_alive()

    def done(self) -> int:
        return len(self.answers)

    def _enroll(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_TIMEOUT_SECONDS)
        while True:
            try:
                job = self.jobs.get_nowait()
            except Empty:
                connection.close()
                return
            # A killed process resets the connection. The next request uses a new one.
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
