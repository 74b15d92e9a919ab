"""Jobs in the library: runs that end at any moment, the queue, and other galleries."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from procrastinate.schema import SchemaManager
from psycopg import Connection, sql

from pgface import Galleries
from pgface.accounts import Client
from pgface.database.job_queue import entered_queue, install_queue, queue_schema, queue_version
from pgface.errors import JobFinishedError, ServiceBusyError, UnknownJobError
from pgface.gallery import Gallery
from pgface.jobs.archive import EXPORT_FILES
from pgface.jobs.jobs import Job, Jobs, PhotoResult, prune_jobs
from pgface.jobs.queue import put_back_lost
from pgface.operations.jobs.run import StopRequestedError, run_job
from pgface.operations.transfer.export import export_gallery
from support.archives import people, zipped
from support.commands import Run
from support.databases import Databases
from support.photos import Photos
from support.sentences import service

CALLER = Client(actor="key 3")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """A worker in this process must not lower the priority of the tests."""
    return environment | {"PGFACE_WORKER_PRIORITY": "normal"}


def added(gallery: Gallery, files: dict[str, bytes], **options: object) -> Job:
    return Jobs(gallery, gallery).enroll(io.BytesIO(zipped(files)), CALLER, **options)  # type: ignore[arg-type]


def results(gallery: Gallery, job: Job) -> list[PhotoResult]:
    return Jobs(gallery, gallery).results(job.id, limit=1_000)


def outcomes(gallery: Gallery, job: Job) -> list[str | None]:
    return [result.outcome for result in results(gallery, job)]


def count(gallery: Gallery, table: str) -> int:
    with gallery.database.transaction() as connection:
        ((number,),) = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
    return int(number)


def queued(gallery: Gallery) -> list[tuple[object, ...]]:
    with gallery.database.transaction() as connection, entered_queue(connection, gallery.settings.schema_name):
        return connection.execute("SELECT status::text, args FROM procrastinate_jobs ORDER BY id").fetchall()


def nothing() -> bool:
    return False


def test_a_worker_enrolls_an_archive(gallery: Gallery, photos: Photos, run: Run) -> None:
    files = people(photos, range(1, 3)) | {"Ann/x.jpg": b"no photo", "loose.jpg": b"x"}
    jobs = Jobs(gallery, gallery)
    job = added(gallery, files)
    assert (job.state, job.total, job.done, job.refused) == ("queued", 6, 1, 1)
    # The queue has no photo, name or secret.
    assert queued(gallery) == [("todo", {"schema": gallery.settings.schema_name, "job": str(job.id)})]
    assert run("worker", "--until-idle").stdout == f"{service.WORKER_WAITS}\n"
    done = jobs.find(job.id)
    assert (done.state, done.done, done.enrolled, done.refused) == ("succeeded", 6, 4, 2)
    assert (done.error, done.reason, done.report) == (None, None, None)
    found = results(gallery, job)
    assert [result.photo for result in found] == list(files)
    assert [result.outcome for result in found] == ["enrolled"] * 4 + ["refused"] * 2
    assert found[4].error == "PhotoFormatError"
    assert found[4].reason
    assert found[4].reason.startswith("x.jpg: these 8 bytes are not a photo")
    assert {user.name: user.photos for user in gallery.users()} == {"Colin Powell": 2, "Gerhard Schroeder": 2}
    assert count(gallery, "audit_log WHERE event = 'photo enrolled' AND actor = 'key 3'") == 4
    assert count(gallery, "job_files") == 0
    assert queued(gallery) == []
    shown = run("jobs", "show", job.id, "--results", 3).stdout
    assert "4 enrolled, 0 already enrolled, 2 refused" in shown
    assert "Colin_Powell/1.jpg" in shown
    assert str(job.id) in run("jobs", "list").stdout

    again = added(gallery, people(photos, range(1, 3)))
    run_job(gallery, again.id, nothing)
    assert outcomes(gallery, again) == ["already enrolled"] * 4
    assert count(gallery, "photos") == 4
    # The results keep no name of a deleted user.
    for user in gallery.users():
        gallery.erase_user(user.id)
    assert {(result.photo, result.user_id, result.photo_id) for result in found[:4]} != {(None, None, None)}
    assert {(r.photo, r.user_id, r.photo_id) for r in results(gallery, again)} == {(None, None, None)}


def test_a_run_that_was_taken_over_or_cancelled_writes_nothing_more(gallery: Gallery, photos: Photos) -> None:
    job = added(gallery, people(photos, range(1, 4)))
    jobs = Jobs(gallery, gallery)
    calls = 0

    def interrupted_by(action: Callable[[], object]) -> Callable[[], bool]:
        """Do this while the first photo is being processed."""

        def should_stop() -> bool:
            nonlocal calls
            calls += 1
            if calls == 3:
                action()
            return False

        return should_stop

    def take_over() -> None:
        gallery.database.execute("begin_job_run", {"id": job.id})

    run_job(gallery, job.id, interrupted_by(take_over))
    assert outcomes(gallery, job) == ["enrolled", None, None, None, None, None]
    assert count(gallery, "photos") == jobs.find(job.id).done == 1
    calls = 0
    run_job(gallery, job.id, interrupted_by(lambda: jobs.cancel(job.id, CALLER)))
    assert outcomes(gallery, job) == ["enrolled"] * 2 + ["cancelled"] * 4
    ended = jobs.find(job.id)
    assert (ended.state, ended.done, count(gallery, "photos")) == ("cancelled", 2, 2)
    assert count(gallery, "job_files") == 0
    assert count(gallery, "audit_log WHERE event IN ('job added', 'job cancelled')") == 2
    run_job(gallery, job.id, nothing)
    assert jobs.find(job.id) == ended
    with pytest.raises(JobFinishedError):
        jobs.cancel(job.id, CALLER)
    with pytest.raises(UnknownJobError):
        jobs.cancel(UUID(int=0), CALLER)


def test_photos_that_a_run_refuses(gallery: Gallery, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    # A photo that ended three workers.
    job = added(gallery, people(photos, range(1, 2)))
    with pytest.raises(StopRequestedError):
        run_job(gallery, job.id, lambda: True)
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE jobs SET runs_without_progress = 3")
    run_job(gallery, job.id, nothing)
    first, second = results(gallery, job)
    assert (first.outcome, first.error) == ("refused", "WorkerEndedError")
    assert second.outcome == "enrolled"
    # A face of another person is refused, and the reason does not say whose it is.
    files = {"Alice/1.jpg": photos("Gerhard_Schroeder", 2).read_bytes()}
    other = added(gallery, files)
    with monkeypatch.context() as small:
        small.setattr(gallery, "_settings", gallery.settings.model_copy(update={"max_upload_pixels": 1_000}))
        large = added(gallery, files)
        run_job(gallery, large.id, nothing)
        assert results(gallery, large)[0].error == "PhotoTooLargeError"
    run_job(gallery, other.id, nothing)
    (refused,) = results(gallery, other)
    assert (refused.outcome, refused.error) == ("refused", "FaceOfAnotherUserError")
    assert "Schroeder" not in str(refused.reason)
    allowed = added(gallery, files, allow_other_user=True)
    run_job(gallery, allowed.id, nothing)
    assert outcomes(gallery, allowed) == ["enrolled"]


def test_other_kinds_of_jobs(gallery: Gallery, photos: Photos, tmp_path: Path) -> None:
    jobs = Jobs(gallery, gallery)
    run_job(gallery, added(gallery, people(photos, range(1, 3))).id, nothing)
    export_gallery(gallery.settings, tmp_path / "export")
    files = {name: (tmp_path / "export" / name).read_bytes() for name in EXPORT_FILES}
    for user in gallery.users():
        gallery.erase_user(user.id)

    def finished(job: Job) -> Job:
        run_job(gallery, job.id, nothing)
        return jobs.find(job.id)

    loaded = finished(jobs.import_export({name: io.BytesIO(data) for name, data in files.items()}, CALLER))
    assert loaded.state == "succeeded", loaded
    assert loaded.report
    assert loaded.report["new"]["embeddings"] == 4
    evaluated = finished(jobs.evaluate(CALLER))
    assert evaluated.report
    assert evaluated.report["people"] == 2
    assert "Powell" not in str(evaluated.report)
    # A failure is told in plain words, and changes nothing.
    wrong = files | {EXPORT_FILES[1]: b"{}"}
    failed = finished(jobs.import_export({name: io.BytesIO(data) for name, data in wrong.items()}, CALLER))
    assert (failed.state, failed.error) == ("failed", "TransferError")
    assert failed.reason
    assert "Traceback" not in failed.reason
    unknown = finished(jobs.reembed(CALLER, model="no-such-model"))
    assert (unknown.state, unknown.error) == ("failed", "UnknownModelError")
    same = finished(jobs.reembed(CALLER, model=str(gallery.config.model_name)))
    assert same.report, same
    assert same.report["outcome"] == "unchanged"
    assert count(gallery, "face_embeddings") == 4
    assert count(gallery, "job_files") == 0


def test_a_job_belongs_to_one_gallery(gallery: Gallery, photos: Photos, run: Run, databases: Databases) -> None:
    elsewhere = databases.create()
    with Galleries(gallery) as galleries:
        galleries.create("staff")
        staff = galleries["staff"]
        job = Jobs(staff, gallery).enroll(io.BytesIO(zipped(people(photos, range(1, 2)))), CALLER)
        other = added(gallery, people(photos, range(1, 2)))
        with pytest.raises(UnknownJobError):
            Jobs(gallery, gallery).find(job.id)
        assert [one.id for one in Jobs(gallery, gallery).newest()] == [other.id]
        # A queue that has lost its jobs gets them again, those of both galleries.
        with gallery.database.transaction() as connection, entered_queue(connection, gallery.settings.schema_name):
            connection.execute("DELETE FROM procrastinate_jobs")
        assert set(put_back_lost(gallery.database, gallery.settings.schema_name)) == {job.id, other.id}
        assert put_back_lost(gallery.database, gallery.settings.schema_name) == []
        galleries.create("far", database_url=elsewhere)
        far = Jobs(galleries["far"], gallery).evaluate(CALLER)
        run("worker", "--until-idle")
        assert Jobs(staff, gallery).find(job.id).state == Jobs(gallery, gallery).find(other.id).state == "succeeded"
        # Its database has no queue, and the worker found it there.
        assert Jobs(galleries["far"], gallery).find(far.id).error == "EvaluationError"
        assert len(staff.users()) == len(gallery.users()) == 2
        assert str(job.id) in run("jobs", "list", "--gallery", "staff", "--json").stdout
        assert run("jobs", "show", job.id, code=1).stderr == str(UnknownJobError()) + "\n"
        # The queue forgets the jobs of a deleted gallery.
        Jobs(staff, gallery).evaluate(CALLER)
        galleries.delete("staff")
        galleries.delete("far")
        run("worker", "--until-idle")
        assert queued(gallery) == []
    databases.drop(elsewhere)


def test_uploads_are_bounded_and_expire(gallery: Gallery, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    job = added(gallery, people(photos, range(1, 2)))
    finished = added(gallery, people(photos, range(1, 2)))
    run_job(gallery, finished.id, nothing)
    jobs = Jobs(gallery, gallery)
    small = gallery.settings.model_copy(update={"max_archive_bytes": 1_000})
    monkeypatch.setattr(gallery, "_settings", small)
    with pytest.raises(ServiceBusyError, match="bytes wait for a worker already"):
        jobs.evaluate(CALLER)
    assert prune_jobs(gallery.database, 7) == 0
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE jobs SET created_at = now() - interval '8 days'")
    assert prune_jobs(gallery.database, 7) == 1
    assert jobs.find(job.id).state == "cancelled"
    assert count(gallery, "job_files") == 0
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE jobs SET finished_at = now() - interval '8 days'")
    assert prune_jobs(gallery.database, 7) == 2
    assert count(gallery, "job_results") == 0


def test_the_queue_is_upgraded_with_procrastinate(connection: Connection, schema_name: str) -> None:
    install_queue(connection, schema_name)
    made = queue_version(connection, schema_name)
    assert made
    functions = _functions(connection, schema_name)
    schema = sql.Identifier(queue_schema(schema_name))
    # The queue of an earlier procrastinate.
    connection.execute(sql.SQL("DROP SCHEMA {0} CASCADE; CREATE SCHEMA {0}").format(schema))
    connection.execute("BEGIN")
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
    for file in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
        if file.name < "03.04":
            connection.execute(file.read_bytes())
    connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS 'procrastinate 3.3.0'").format(schema))
    connection.execute("COMMIT")
    path = connection.execute("SHOW search_path").fetchone()
    install_queue(connection, schema_name)
    assert queue_version(connection, schema_name) == made
    assert _functions(connection, schema_name) >= functions
    assert connection.execute("SHOW search_path").fetchone() == path
    assert len(queue_schema("x" * 63)) == 44


def _functions(connection: Connection, schema_name: str) -> set[tuple[str, str]]:
    found = "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = quote_ident(%s)::regnamespace"
    return set(connection.execute(found, (queue_schema(schema_name),)).fetchall())
