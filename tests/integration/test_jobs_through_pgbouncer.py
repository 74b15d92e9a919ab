"""Jobs of a service and a worker that reach the database through a real pgbouncer in transaction mode."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from pgface.accounts import Client, create_key
from pgface.errors import SessionNeededError
from pgface.gallery import Gallery
from pgface.jobs.jobs import Jobs
from pgface.server import run as server
from pgface.server.sockets import Listening
from pgface.settings import Settings
from support.archives import people, zipped
from support.commands import Run, environment_of
from support.embedded_server import eventually
from support.pgbouncer import pooler
from support.photos import Photos
from support.sentences import database as says
from support.sentences.service import WORKER_WAITS
from support.web_service import V1, bearer, running

pytestmark = pytest.mark.slow

PHOTOS = 6
"""The photos of each job."""


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    with pooler(database_url) as url:
        yield url


@pytest.fixture
def pooled(settings: Settings, pooled_url: str, database_url: str) -> dict[str, str]:
    """The environment of a gallery behind pgbouncer, with a direct URL."""
    urls = {"PGFACE_DATABASE_URL": pooled_url, "PGFACE_DIRECT_URL": database_url}
    # The priority is not lowered, because other tests would starve the worker.
    return environment_of(settings) | urls | {"PGFACE_WORKER_PRIORITY": "normal", "PGFACE_JOB_STALLED_SECONDS": "1"}


def test_jobs_are_done_cancelled_and_resumed(
    gallery: Gallery, pooled: dict[str, str], photos: Photos, run: Run, tmp_path: Path
) -> None:
    jobs = Jobs(gallery, gallery)
    key = bearer(create_key(gallery.database, "a program", ["enroll"], Client())[0])
    archive = zipped(people(photos, range(1, PHOTOS // 2 + 1)))
    with running(tmp_path / "service", pooled, "--jobs") as service:

        def added() -> UUID:
            url, headers = f"{service.url}{V1}/jobs", key | {"Content-Type": "application/zip"}
            answer = httpx.post(url, params={"kind": "enroll"}, headers=headers, content=archive)
            assert answer.status_code == 202, answer.text
            return UUID(answer.json()["id"])

        first, second = (added() for _ in range(2))
        cancelled = httpx.post(f"{service.url}{V1}/jobs/{second}/cancel", headers=key)
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert eventually(lambda: jobs.find(first).done > 0, 60, 0.02)
        service.end(signal.SIGKILL)  # its worker notices it, finishes its photo and gives the job back
    assert jobs.find(first).state == "running"
    time.sleep(1.1)  # until a worker that has not given it back counts as dead
    assert run("worker", "--until-idle", more=pooled).stdout == f"{WORKER_WAITS}\n"
    resumed = jobs.find(first)
    assert (resumed.state, resumed.enrolled) == ("succeeded", PHOTOS)
    assert (jobs.find(second).state, jobs.find(second).enrolled) == ("cancelled", 0)


@pytest.mark.usefixtures("gallery")
def test_a_worker_without_a_direct_url_is_refused(
    settings: Settings, pooled: dict[str, str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooled_url = pooled["PGFACE_DATABASE_URL"]
    for direct in ("", pooled_url):
        given = {"PGFACE_DATABASE_URL": pooled_url} | ({"PGFACE_DIRECT_URL": direct} if direct else {})
        assert run("worker", "--until-idle", code=1, more=given).stderr == f"{says.WORKER_NEEDS_A_SESSION}\n"
    with_jobs = settings.model_copy(update={"database_url": SecretStr(pooled_url), "jobs": True})
    monkeypatch.setattr(server, "worker_beside", lambda _: pytest.fail("a worker was started"))
    with pytest.raises(SessionNeededError, match=says.WORKER_NEEDS_A_SESSION.pattern()):
        server.serve(Listening("127.0.0.1", 0), 1, with_jobs, lambda *_: None)
