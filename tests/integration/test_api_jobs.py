"""Jobs over HTTP: who may add, see and cancel them, which uploads are refused, and what kill -9 leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx2 as httpx
import pytest
from httpx2 import Response

from pgface.accounts import Client, create_key
from pgface.database.job_queue import entered_queue
from pgface.gallery import Gallery
from pgface.jobs.jobs import Jobs
from pgface.operations.jobs.run import run_job
from pgface.server import uploads
from support.archives import PEOPLE, people, tarred, zipped
from support.commands import Run, environment_of, without_settings
from support.embedded_server import eventually
from support.photos import Photos
from support.web_service import V1, Headers, Served, bearer, code_of, running

JOBS = f"{V1}/jobs"
ZIP = {"Content-Type": "application/zip"}
ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))
"""How often a service and a worker are killed."""


def add(
    api: Served,
    headers: Headers,
    data: bytes = b"",
    kind: str = "enroll",
    *,
    media_type: str = "application/zip",
    **options: Any,
) -> Response:
    sent = headers | ({"Content-Type": media_type} if data else {})
    return api.client.post(JOBS, params={"kind": kind} | options, headers=sent, content=data)


def done(api: Served, job: dict[str, Any], headers: Headers) -> dict[str, Any]:
    """Run a job, and return it."""
    run_job(api.gallery, UUID(job["id"]), lambda: False)
    return dict(api.client.get(f"{JOBS}/{job['id']}", headers=headers).json())


def test_an_archive_is_enrolled(api: Served, photos: Photos) -> None:
    program, admin, other = api.key("enroll"), api.key("admin"), api.key("enroll")
    files = people(photos, range(1, 3)) | {"Alice/x.jpg": b"no photo"}
    once = program | {"Idempotency-Key": "k1"}
    archive = tarred(files)
    first = add(api, once, archive, media_type="application/gzip")
    assert first.status_code == 202, first.text
    assert add(api, once, archive, media_type="application/gzip").json() == first.json()
    assert code_of(add(api, once, zipped(files)), 422) == "key-used-before"
    job = first.json()
    assert first.headers["location"] == f"{JOBS}/{job['id']}"
    assert (job["state"], job["total"], job["done"], job["created_by"][:4]) == ("queued", 5, 0, "key ")
    ended = done(api, job, program)
    assert (ended["state"], ended["enrolled"], ended["refused"], ended["error"]) == ("succeeded", 4, 1, None)
    page = api.client.get(f"{first.headers['location']}/results", headers=program, params={"limit": 3}).json()
    rest = api.client.get(f"{JOBS}/{job['id']}/results", headers=program, params={"cursor": page["next_cursor"]}).json()
    results = page["results"] + rest["results"]
    assert [result["photo"] for result in results] == list(files)
    assert [result["outcome"] for result in results] == ["enrolled"] * 4 + ["refused"]
    assert results[4]["error"] == "photo-format"
    assert rest["next_cursor"] is None
    # Another program neither sees the job nor learns that it exists. An administrator sees it.
    for path in (f"{JOBS}/{job['id']}", f"{JOBS}/{job['id']}/results"):
        assert code_of(api.client.get(path, headers=other), 404) == "unknown-job"
        assert api.client.get(path, headers=admin).status_code == 200
    assert code_of(api.client.post(f"{JOBS}/{job['id']}/cancel", headers=other), 404) == "unknown-job"
    assert api.client.get(JOBS, headers=other).json()["jobs"] == []
    assert len(api.client.get(JOBS, headers=admin).json()["jobs"]) == 1
    assert code_of(api.client.post(f"{JOBS}/{job['id']}/cancel", headers=program), 409) == "job-finished"


def test_a_job_is_cancelled(api: Served, photos: Photos) -> None:
    program = api.key("enroll")
    ids = [add(api, program, zipped(people(photos, range(1, 2)))).json()["id"] for _ in range(3)]
    cancelled = api.client.post(f"{JOBS}/{ids[1]}/cancel", headers=program)
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    results = api.client.get(f"{JOBS}/{ids[1]}/results", headers=program).json()["results"]
    assert [result["outcome"] for result in results] == ["cancelled"] * 2
    page = api.client.get(JOBS, headers=program, params={"limit": 2}).json()
    assert [job["id"] for job in page["jobs"]] == [ids[2], ids[1]]
    rest = api.client.get(JOBS, headers=program, params={"cursor": page["next_cursor"]}).json()
    assert [job["id"] for job in rest["jobs"]] == [ids[0]]
    waiting = api.client.get(JOBS, headers=program, params={"state": "queued"}).json()
    assert [job["id"] for job in waiting["jobs"]] == [ids[2], ids[0]]
    assert {row[0] for row in api.execute("SELECT event FROM audit_log WHERE event LIKE 'job %'")} == {
        "job added",
        "job cancelled",
    }


def test_other_kinds_need_an_administrator(api: Served, photos: Photos) -> None:
    program, admin = api.key("enroll"), api.key("admin")
    archive = zipped(people(photos, range(1, 2)))
    for kind, data in (("import", archive), ("reembed", b""), ("evaluate", b"")):
        assert code_of(add(api, program, data, kind), 403) == "not-permitted"
    assert code_of(add(api, program, archive, allow_other_user=True), 403) == "not-permitted"
    for kind, data, options in (
        ("enroll", b"", {}),
        ("evaluate", archive, {}),
        ("reembed", b"", {}),
        ("evaluate", b"", {"model": "sface"}),
        ("reembed", b"", {"model": "../sface"}),
        ("x", b"", {}),
        ("import", archive, {}),
        ("enroll", archive, {"face": "x"}),
    ):
        assert add(api, admin, data, kind, **options).status_code == 422, kind
    assert code_of(add(api, admin, archive, media_type="text/plain"), 415) == "media-type"
    assert api.execute("SELECT count(*) FROM jobs") == [(0,)]
    # A failed job says why in plain words.
    failed = done(api, add(api, admin, kind="reembed", model="no-such-model").json(), admin)
    assert (failed["state"], "Traceback" in str(failed["reason"])) == ("failed", False)
    evaluated = done(api, add(api, admin, kind="evaluate").json(), admin)
    assert (evaluated["state"], evaluated["error"]) == ("failed", "evaluation")
    assert evaluated["reason"]


def test_an_upload_is_refused(api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    program = api.key("enroll")
    for data in (zipped({"../x.jpg": b"x"}), b"no archive", zipped({"a/b.jpg": zipped({"x": b"x"})})):
        assert code_of(add(api, program, data), 422) == "photo-archive"
    small = api.gallery.settings.model_copy(update={"max_archive_bytes": 5_000, "request_timeout": 1.0})
    monkeypatch.setattr(api.gallery, "_settings", small)
    assert code_of(add(api, program, zipped(people(photos, range(1, 2)))), 413) == "request-too-large"
    bomb = zipped({"Alice/1.jpg": bytes(1_000_000)})
    assert len(bomb) < 5_000
    assert code_of(add(api, program, bomb), 422) == "photo-archive"
    monkeypatch.setattr(uploads, "_MAX_UPLOADS", 0)
    assert code_of(add(api, program, bomb), 503) == "service-busy"
    assert api.execute("SELECT count(*) FROM jobs") == [(0,)]
    assert api.execute("SELECT count(*) FROM job_files") == [(0,)]


@pytest.mark.parametrize(("then", "status"), [("silence", 408), ("http.disconnect", 422)])
def test_an_upload_that_does_not_arrive_is_refused(
    api: Served, monkeypatch: pytest.MonkeyPatch, then: str, status: int
) -> None:
    impatient = api.gallery.settings.model_copy(update={"request_timeout": 0.2})
    monkeypatch.setattr(api.gallery, "_settings", impatient)
    headers = [(name.lower().encode(), value.encode()) for name, value in (api.key("enroll") | ZIP).items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": JOBS,
        "raw_path": JOBS.encode(),
        "query_string": b"kind=enroll",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 50_000),
        "server": ("localhost", 80),
        "state": {},
    }
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"PK", "more_body": True}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        if then == "silence":
            await anyio.sleep(10)
        return {"type": then}

    async def send(message: Any) -> None:
        sent.append(message)

    assert api.client.portal
    api.client.portal.call(api.app, scope, receive, send)
    assert sent[0]["status"] == status
    assert uploads._receiving == set()
    assert api.execute("SELECT count(*) FROM jobs") == [(0,)]


def test_a_job_of_another_gallery_is_not_found(api: Served, photos: Photos) -> None:
    operator = bearer(create_key(api.owner.database, "a program", ["admin"], Client(), all_galleries=True)[0])
    created = api.client.post(f"{V1}/galleries", headers=operator, json={"name": "staff"})
    assert created.status_code == 201, created.text
    jobs_of_staff = f"{V1}/galleries/staff/jobs"
    archive = zipped(people(photos, range(1, 2)))
    added = api.client.post(jobs_of_staff, params={"kind": "enroll"}, headers=operator | ZIP, content=archive)
    assert added.status_code == 202, added.text
    path = added.headers["location"]
    assert path == f"{jobs_of_staff}/{added.json()['id']}"
    assert api.client.get(path, headers=operator).json() == added.json()
    # The gallery is not in the path.
    for caller in (operator, api.key("admin")):
        assert code_of(api.client.get(f"{JOBS}/{added.json()['id']}", headers=caller), 404) == "unknown-job"
        assert api.client.get(JOBS, headers=caller).json()["jobs"] == []
    # The caller belongs to the default gallery only.
    for method, of_staff in (("GET", path), ("GET", jobs_of_staff), ("POST", f"{path}/cancel")):
        assert api.client.request(method, of_staff, headers=api.key("admin")).status_code == 401
    assert api.client.post(f"{path}/cancel", headers=operator).json()["state"] == "cancelled"
    assert api.client.delete(f"{V1}/galleries/staff", headers=operator).status_code == 204
    assert api.client.get(path, headers=operator).status_code == 404
    api.execute("DELETE FROM api_keys WHERE all_galleries")


# Services and workers that are killed


class Killed:
    """A job of 20 photos, and the processes that work on it until they are killed."""

    def __init__(self, gallery: Gallery, photos: Photos, folder: Path) -> None:
        self.gallery = gallery
        self.folder = folder
        self.environment = environment_of(gallery.settings) | {"PGFACE_JOB_STALLED_SECONDS": "1"}
        self.environment |= {"PGFACE_WORKER_PRIORITY": "normal"}  # other tests would starve the worker
        self.archive = zipped(people(photos, range(1, 11)))
        self.job_id = ""

    def progress(self) -> int:
        """Return the number of results, after a check that every photo has exactly one, and no row is doubled."""
        with self.gallery.database.transaction() as connection:
            row = connection.execute(
                b"""
                SELECT j.state, j.total, j.done, j.enrolled,
                    (SELECT count(*) FROM job_results), (SELECT count(outcome) FROM job_results),
                    (SELECT count(*) FROM job_files), (SELECT count(*) FROM photos),
                    (SELECT count(*) FROM face_embeddings),
                    (SELECT count(DISTINCT (user_id, content_sha256)) FROM photos),
                    (SELECT count(*) FROM audit_log WHERE event = 'photo enrolled'), (SELECT count(*) FROM users)
                FROM jobs j
                """
            ).fetchone()
        assert row
        state, total, done, enrolled, rows, with_outcome, waiting, *stored, people_ = row
        assert (total, rows) == (20, 20)
        assert done == with_outcome == 20 - waiting
        assert stored == [enrolled] * 4
        assert people_ <= len(PEOPLE)
        assert state in ("queued", "running", "succeeded")
        return int(done)

    def wait_for(self, photos: int) -> None:
        assert eventually(lambda: self.progress() >= photos, 60, 0.02)
        time.sleep(random.uniform(0, 0.2))  # noqa: S311

    def kill_service(self, photos: int) -> None:
        """Kill a service when its worker has processed so many photos. The worker ends and gives the job back."""
        with running(self.folder / str(time.monotonic_ns()), self.environment, "--jobs") as service:
            if not self.job_id:
                headers = bearer(self.key)
                added = httpx.post(
                    f"{service.url}{JOBS}",
                    params={"kind": "enroll"},
                    headers=headers | {"Content-Type": "application/zip"},
                    content=self.archive,
                )
                assert added.status_code == 202, added.text
                self.job_id = added.json()["id"]
            (worker,) = children_of(service.process.pid)
            self.wait_for(photos)
            service.end(signal.SIGKILL)
            self.progress()
            assert eventually(lambda: not Path(f"/proc/{worker}/stat").exists(), 20)
            self.progress()

    def kill_worker(self, photos: int) -> None:
        """Kill a worker when it has processed so many photos."""
        command = [sys.executable, "-m", "pgface", "worker"]
        with subprocess.Popen(
            command, env=without_settings() | self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as worker:
            self.wait_for(photos)
            worker.kill()
        self.progress()

    @property
    def key(self) -> str:
        return create_key(self.gallery.database, "a program", ["enroll"], Client())[0]


def children_of(process: int) -> list[int]:
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def test_killed_services_and_workers_leave_one_result_for_each_photo(
    gallery: Gallery, photos: Photos, run: Run, tmp_path: Path
) -> None:
    for _ in range(ROUNDS):
        killed = Killed(gallery, photos, tmp_path)
        first = random.randint(1, 8)  # noqa: S311
        killed.kill_service(first)
        with gallery.database.transaction() as connection, entered_queue(connection, gallery.settings.schema_name):
            # The worker was told to stop, and gave the job back.
            assert connection.execute("SELECT status::text FROM procrastinate_jobs").fetchall() == [("todo",)]
        killed.kill_worker(first + random.randint(1, 8))  # noqa: S311
        time.sleep(1.1)  # until the killed worker counts as dead
        run("worker", "--until-idle", more=killed.environment)
        assert killed.progress() == 20
        assert [job.state for job in Jobs(gallery, gallery).newest()] == ["succeeded"]
        for user in gallery.users():
            gallery.erase_user(user.id)
        with gallery.database.transaction() as connection:
            connection.execute("DELETE FROM jobs")
            connection.execute("DELETE FROM audit_log")
