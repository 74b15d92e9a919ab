"""An import job whose worker, connections or server end at random moments: complete or unchanged, never a mixture.

`PGFACE_TEST_ROUNDS=20 PGFACE_TEST_EMBEDDINGS=20000` runs the long version, which also kills server processes.
"""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import scalar_row

from pgface.accounts import Client
from pgface.errors import DatabaseUnreachableError, JobFinishedError
from pgface.gallery import Gallery, bulk
from pgface.jobs.archive import EXPORT_FILES
from pgface.jobs.jobs import Job, Jobs
from pgface.operations.jobs import run as runs
from pgface.operations.jobs.run import run_job
from pgface.operations.transfer.export import export_gallery
from support.commands import Run, environment_of, without_settings
from support.embedded_server import eventually

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))
PEOPLE = 20
EMBEDDINGS = int(os.environ.get("PGFACE_TEST_EMBEDDINGS", "1200"))
LONGEST_PAUSE = 0.5 if ROUNDS == 1 else 2 + EMBEDDINGS / 2_000
"""Seconds from the start of an import until something is killed, at most."""
CALLER = Client(actor="key 3")


@pytest.fixture
def exported(gallery: Gallery, tmp_path: Path) -> dict[str, bytes]:
    """The files of an export. Its people are not in the gallery."""
    users = [gallery.add_user(f"user{number}@example.org").id for number in range(PEOPLE)]
    embeddings = np.random.default_rng(1).standard_normal((EMBEDDINGS, 512)).astype(np.float32)
    gallery.load_embeddings(np.resize(users, EMBEDDINGS), embeddings)
    export_gallery(gallery.settings, tmp_path / "export")
    delete_users(gallery)
    return {name: (tmp_path / "export" / name).read_bytes() for name in EXPORT_FILES}


def delete_users(gallery: Gallery) -> None:
    with gallery.database.transaction() as connection:
        connection.execute("DELETE FROM users")


def added(gallery: Gallery, files: dict[str, bytes]) -> Job:
    return Jobs(gallery, gallery).import_export({name: io.BytesIO(data) for name, data in files.items()}, CALLER)


@dataclass
class Watched:
    """An import and the server that it runs on, seen over a connection of its own."""

    gallery: Gallery
    job: Job
    ours: list[int] = field(default_factory=list)
    """The server processes of this test's gallery."""

    def __post_init__(self) -> None:
        with self.connected() as connection:
            self.ours = self._processes(connection)

    def see(self) -> str:
        """Return the job's state, after a check that the gallery has everything or nothing.

        The state is `committed` if the rows are there, and the job has not ended.
        """
        while True:
            with suppress(psycopg.OperationalError):  # the server starts again after the loss of a process
                return self._see()
            time.sleep(0.05)

    def _see(self) -> str:
        counts = "(SELECT count(*) FROM users), (SELECT count(*) FROM face_embeddings)"
        statement = f"SELECT state, report -> 'new' ->> 'embeddings', {counts} FROM jobs WHERE id = %s"
        with self.connected() as connection:
            ((state, reported, *stored),) = connection.execute(statement.encode(), (self.job.id,)).fetchall()
        if reported is None:
            assert stored == [0, 0]
            assert state in ("queued", "running")
        else:
            assert (int(reported), *stored) == (EMBEDDINGS, PEOPLE, EMBEDDINGS)
            assert state in ("running", "succeeded")
            return "committed" if state == "running" else "succeeded"
        return str(state)

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.gallery.database.url, autocommit=True) as connection:
            path = sql.SQL("SET search_path = {}, public").format(sql.Identifier(self.gallery.settings.schema_name))
            connection.execute(path)
            yield connection

    def end_connections(self, how: str) -> None:
        """End the connections of the worker, by PostgreSQL or with `kill -9` of a server process."""
        with self.connected() as connection:
            processes = self._processes(connection)
            if how == "terminate":
                connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (processes,))
        if how == "kill" and processes:  # PostgreSQL then ends all connections, and recovers as after a crash
            with suppress(ProcessLookupError):
                os.kill(processes[-1], signal.SIGKILL)
            self.see()
            self.gallery.database.read("is_replica", row_factory=scalar_row)  # which connects again

    def _processes(self, connection: psycopg.Connection[Any]) -> list[int]:
        """Return the server processes of the worker, the oldest first."""
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> ALL(%s::int[])"
            " AND application_name LIKE 'pgface%%' ORDER BY backend_start",
            (self.ours,),
        )
        return [process for (process,) in found]


@contextmanager
def worker(gallery: Gallery) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"PGFACE_JOB_STALLED_SECONDS": "1", "PGFACE_WORKER_PRIORITY": "normal"}
    environment = without_settings() | environment_of(gallery.settings) | settings
    command = [sys.executable, "-m", "pgface", "worker"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_import_is_complete_or_unchanged(gallery: Gallery, exported: dict[str, bytes], run: Run) -> None:
    seed = int(os.environ.get("PGFACE_TEST_SEED", "0")) or time.time_ns() % 2**32
    print(f"PGFACE_TEST_SEED={seed}")
    chance = random.Random(seed)  # noqa: S311 - for moments, not for secrets
    for number in range(ROUNDS):
        watched = Watched(gallery, added(gallery, exported))
        how = chance.choice(["terminate", "kill"]) if ROUNDS > 1 else "terminate"
        goes_on = ROUNDS > 1 and chance.random() < 0.5
        with worker(gallery) as process:
            assert eventually(lambda: watched.see() != "queued", 60, 0.01)  # noqa: B023 - it is called at once
            time.sleep(chance.uniform(0, LONGEST_PAUSE))
            seen = [watched.see()]
            watched.end_connections(how)
            if goes_on:
                assert eventually(lambda: watched.see() == "succeeded", 60, 0.1)  # noqa: B023
            time.sleep(chance.uniform(0, LONGEST_PAUSE))
            seen.append(watched.see())
            assert process.poll() is None
        seen.append(watched.see())
        time.sleep(1.1)  # until the killed worker counts as dead
        run("worker", "--until-idle", more={"PGFACE_JOB_STALLED_SECONDS": "1", "PGFACE_WORKER_PRIORITY": "normal"})
        assert watched.see() == "succeeded"
        print(f"round {number}: {how}, the worker {'goes on' if goes_on else 'is killed'}, states {seen}")
        assert gallery.status().index == "hnsw"
        delete_users(gallery)


def raise_lost(*_: Any, **__: Any) -> None:
    raise DatabaseUnreachableError


def test_an_import_that_was_cancelled_or_taken_over_changes_nothing(
    gallery: Gallery, exported: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, store_report = Jobs(gallery, gallery), runs.Run.store_report
    actions: list[Callable[[UUID], object]] = [
        lambda job_id: jobs.cancel(job_id, CALLER),
        lambda job_id: gallery.database.execute("begin_job_run", {"id": job_id}),
    ]
    for action in actions:
        job = added(gallery, exported)

        def late(run: runs.Run, *values: Any, act: Callable[[UUID], object] = action) -> None:
            act(run.job_id)
            store_report(run, *values)

        with monkeypatch.context() as patch:
            patch.setattr(runs.Run, "store_report", late)
            run_job(gallery, job.id, lambda: False)
        assert (gallery.users(), jobs.find(job.id).report) == ([], None)
    # PostgreSQL is lost after the commit. The job can no longer be cancelled, and keeps its report.
    with monkeypatch.context() as lost:
        lost.setattr(bulk, "fit_search_if_due", raise_lost)
        with pytest.raises(DatabaseUnreachableError):
            run_job(gallery, job.id, lambda: False)
    assert jobs.find(job.id).state == "running"
    with pytest.raises(JobFinishedError):
        jobs.cancel(job.id, CALLER)
    assert gallery.status().index is None
    gallery.erase_user("user0@example.org")
    run_job(gallery, job.id, lambda: False)
    ended = jobs.find(job.id)
    assert (ended.state, len(gallery.users())) == ("succeeded", PEOPLE - 1)  # deleted people are not imported again
    assert gallery.status().index == "hnsw"
    assert ended.report
    assert ended.report["new"]["embeddings"] == EMBEDDINGS
