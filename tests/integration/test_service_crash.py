"""The service is killed during enrollments. All acknowledged photos are stored, and no photo is incomplete."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from PIL import Image

from pgface.accounts import Client, create_key
from pgface.accounts.idempotency import GIVEN_UP_AFTER
from pgface.gallery import Gallery
from pgface.gallery.enroll_folder import person_of
from pgface.gallery.photo_inventory import take_inventory
from pgface.settings import Settings
from support.embedded_server import eventually
from support.enrollers import Enrollers, Job
from support.galleries import rows
from support.serve import Served, serving
from support.service_role import service_role

pytestmark = pytest.mark.slow

CLIENTS = 4
DETECTOR = 320
"""Pixels. The faces of these photos are large, and a small detector is fast."""


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    values = {"database_url": database_url, "data_dir": tmp_path / "data", "detector_size": DETECTOR}
    return Settings.model_validate(values)


@pytest.fixture
def api_key(settings: Settings, insightface_pack: Path) -> str:
    """An API key of a new gallery."""
    with Gallery.create(settings, model=str(insightface_pack)) as gallery:
        return create_key(gallery.database, "tests", ["enroll"], Client())[0]


@pytest.fixture
def of_service(settings: Settings, api_key: str) -> Iterator[Settings]:
    """The settings of the service's role."""
    assert api_key
    with service_role(settings) as of_service:
        yield of_service


@pytest.fixture(scope="session")
def jobs(faces_dir: Path) -> tuple[Job, ...]:
    """The enrollments of 100 different photos."""
    found = [Job(person_of(file.parent.name).email, file.read_bytes()) for file in sorted(faces_dir.glob("*/*.jpg"))]
    assert len(found) == 100
    return tuple(found)


def test_acknowledged_photos_are_complete_after_a_kill(
    settings: Settings, of_service: Settings, api_key: str, jobs: Sequence[Job], tmp_path: Path
) -> None:
    with serving(_environment(of_service), tmp_path) as service:
        enrollers = Enrollers(service.url, api_key)
        enrollers.start(jobs, CLIENTS)
        assert eventually(lambda: enrollers.done() >= 35, 60)
        service.process.kill()
        enrollers.join()
    acknowledged = _photo_ids(enrollers)
    assert 35 <= len(acknowledged) < len(jobs)
    assert {answer.status for answer in enrollers.answers.values()} == {201}

    _wait_until_transactions_have_ended(settings)
    with serving(_environment(of_service), tmp_path) as service:
        # At its start, the service has fixed incomplete files before the first request.
        _assert_complete(settings, set(acknowledged.values()))
        unfinished = _requests_without_a_response(settings)
        assert len(unfinished) <= CLIENTS
        again = _enroll_all(service, api_key, jobs)
        for key, photo_id in acknowledged.items():
            answer = again.answers[key]
            assert (answer.status, answer.body["photo_id"]) == (201, photo_id)
            assert answer.headers["idempotent-replayed"] == "true"
        # For a minute, the service cannot know whether the process is dead or only slow.
        late = [job for job in jobs if again.answers[job.key].status != 201]
        assert {again.answers[job.key].status for job in late} == {409}
        assert all("retry-after" in again.answers[job.key].headers for job in late)
        assert len(late) == len(unfinished)

        _age_by_a_minute(settings)
        last = _enroll_all(service, api_key, late)
        # The status is 200 if the photo was committed, and only the response was lost.
        assert {answer.status for answer in last.answers.values()} <= {200, 201}
    assert _assert_complete(settings, {*_photo_ids(again).values(), *_photo_ids(last).values()}) == len(jobs)


def test_the_other_processes_continue_after_one_is_killed(
    settings: Settings, of_service: Settings, api_key: str, jobs: Sequence[Job], tmp_path: Path
) -> None:
    with serving(_environment(of_service), tmp_path, "--workers", 2) as service:
        assert eventually(lambda: len(_workers(service)) == 2, 30)
        before = _workers(service)
        enrollers = Enrollers(service.url, api_key)
        some = jobs[::2]
        enrollers.start(some, CLIENTS)
        assert eventually(lambda: enrollers.done() >= 10, 60)
        killed = min(before)
        # A process that is stopped does not answer its supervisor, who waits for that when the process is killed.
        os.kill(killed, signal.SIGSTOP)
        time.sleep(1)
        os.kill(killed, signal.SIGKILL)
        enrollers.join()
        # Only the requests of the killed process have no response.
        assert len(some) - CLIENTS <= enrollers.done() <= len(some)
        assert {answer.status for answer in enrollers.answers.values()} == {201}

        assert eventually(lambda: len(_workers(service) - before) == 1, 10)
        assert _workers(service) & before == before - {killed}

        _age_by_a_minute(settings)
        left = [job for job in some if job.key not in enrollers.answers]
        last = _enroll_all(service, api_key, left)
        assert {answer.status for answer in last.answers.values()} <= {200, 201}
    acknowledged = {*_photo_ids(enrollers).values(), *_photo_ids(last).values()}
    assert _assert_complete(settings, acknowledged) == len(some)


def _environment(settings: Settings) -> dict[str, str]:
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    return {"PGFACE_DATABASE_URL": url, "PGFACE_DATA_DIR": str(settings.data_dir)}


def _workers(service: Served) -> set[int]:
    """Return the ids of the worker processes."""
    found = set()
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def _enroll_all(service: Served, api_key: str, jobs: Sequence[Job]) -> Enrollers:
    enrollers = Enrollers(service.url, api_key)
    enrollers.start(jobs, CLIENTS)
    enrollers.join()
    assert enrollers.done() == len(jobs)
    return enrollers


def _photo_ids(enrollers: Enrollers) -> dict[str, int]:
    """Return the acknowledged photo ids, by the key of the request."""
    return {key: answer.body["photo_id"] for key, answer in enrollers.answers.items() if answer.status in (200, 201)}


def _assert_complete(settings: Settings, acknowledged: set[int]) -> int:
    """Check that every photo has an embedding and a file, and that nothing else exists. Return the number of photos."""
    with Gallery.open(settings) as gallery:
        with gallery.database.transaction() as connection:
            photos = rows(connection, "SELECT id, user_id, content_sha256, filepath FROM photos")
            embeddings = rows(connection, "SELECT photo_id, user_id FROM face_embeddings")
            people = rows(connection, "SELECT DISTINCT user_id FROM photos")
            users = rows(connection, "SELECT id FROM users")
        inventory = take_inventory(gallery.database, gallery._files)
    assert acknowledged <= {photo_id for photo_id, *_ in photos}
    assert sorted(embeddings) == sorted((photo_id, user_id) for photo_id, user_id, *_ in photos)
    assert len({(user_id, content) for _, user_id, content, _ in photos}) == len(photos)
    assert sorted(people) == sorted(users)
    assert (inventory.here, inventory.missing, inventory.strays) == (len(photos), (), ())
    crops = {path.relative_to(settings.photos_dir) for path in settings.photos_dir.rglob("*.jpg")}
    assert crops == {Path(filepath) for *_, filepath in photos}  # no file waits for its row
    for crop in crops:
        with Image.open(settings.photos_dir / crop) as picture:
            picture.load()  # raises an error for an incomplete file
            assert picture.size == (224, 224)
    return len(photos)


def _requests_without_a_response(settings: Settings) -> list[tuple[str]]:
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        return rows(connection, "SELECT key FROM idempotent_requests WHERE status IS NULL")


def _age_by_a_minute(settings: Settings) -> None:
    """Make the requests without a response a minute older."""
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        connection.execute(
            "UPDATE idempotent_requests SET started_at = now() - make_interval(secs => %s) WHERE status IS NULL",
            (GIVEN_UP_AFTER + 1,),
        )


def _wait_until_transactions_have_ended(settings: Settings) -> None:
    """Wait until PostgreSQL has noticed that the process was killed, and has ended its transactions."""
    with Gallery.open(settings) as gallery:

        def others() -> int:
            with gallery.database.transaction() as connection:
                ((count,),) = rows(
                    connection,
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
                    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                )
            return int(count)

        assert eventually(lambda: others() == 0, 30)
