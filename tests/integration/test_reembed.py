"""Changing the model of a gallery, and keeping its people: `pgface reembed`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from pgface.accounts import Accounts, Client, create_key
from pgface.database.sql import queries
from pgface.errors import (
    DatabaseAccessError,
    GalleryError,
    ModelMismatchError,
    TableLockedError,
    UnknownUserError,
)
from pgface.evaluation.stored_embeddings import stored_embeddings
from pgface.faces.engines import load_engine
from pgface.faces.engines.base import Box, Engine
from pgface.faces.models.registry import SFACE, SFACE_THRESHOLDS
from pgface.gallery import Gallery
from pgface.gallery.status import read_advice
from pgface.operations.backup.create import back_up
from pgface.operations.backup.restore import restore
from pgface.operations.reembed import reembed as reembedding
from pgface.operations.reembed import switch as switching
from pgface.operations.reembed.faces import overlap
from pgface.operations.reembed.reembed import abort_reembedding, reembed
from pgface.operations.reembed.staging import reembedding_lock
from pgface.server.app import create_app
from pgface.settings import Settings
from pgface.thresholds import NOT_CALIBRATED
from support.commands import Run, environment_of, without_settings
from support.galleries import one_value, rows
from support.photos import Photos
from support.sentences import reembed as says
from support.service_role import service_role, sql_as
from support.web_service import V1, bearer, code_of, file

PEOPLE = ("Colin_Powell", "Gerhard_Schroeder", "Tony_Blair")
WAITING = "SELECT count(*) FROM reembedded_faces"


def email(person: str) -> str:
    return f"{person}@example.org".lower()


@pytest.fixture(scope="session")
def sface(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return load_engine(
        "sface", models_dir=tmp_path_factory.mktemp("no models"), detector_size=640, execution_provider="CPU"
    )


def enroll(gallery: Gallery, photos: Photos, numbers: tuple[int, ...] = (1, 2)) -> None:
    for person in PEOPLE:
        for number in numbers:
            gallery.enroll(photos(person, number), email(person), name=person, face="largest")


@pytest.fixture
def people(gallery: Gallery, photos: Photos) -> Gallery:
    """A gallery of three people with two photos each, of the InsightFace model."""
    enroll(gallery, photos)
    return gallery


def rows_of(gallery: Gallery, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with gallery.database.transaction() as connection:
        return rows(connection, query, *parameters)


def embeddings_of(gallery: Gallery) -> dict[int, NDArray[np.float32]]:
    """Return the stored embeddings, by their ids."""
    with gallery.database.transaction() as connection:
        found = connection.execute("SELECT id, embedding FROM face_embeddings ORDER BY id", binary=True)
        return {number: vector.to_numpy() for number, vector in found}


def embedding(engine: Engine, photo: Path) -> NDArray[np.float32]:
    """Return the embedding of the largest face of a photo."""
    (face,) = engine.detect_and_embed(np.asarray(Image.open(photo).convert("RGB")), lambda found: found[:1])
    return face.embedding


def require_switched(gallery: Gallery) -> None:
    """Check that the gallery has the model sface, and that nothing is left over."""
    assert one_value(gallery, "SELECT model_name FROM gallery") == "sface"
    assert one_value(gallery, "SELECT weights_sha256 FROM gallery") == SFACE.weights_sha256
    assert one_value(gallery, WAITING) == 0
    assert one_value(gallery, "SELECT count(*) FROM reembedding") == 0
    assert one_value(gallery, "SELECT pg_relation_size('reembedded_faces')") == 0
    assert rows_of(gallery, "SELECT process FROM gallery_locks WHERE name = 'reembedding'") == [(None,)]
    disabled = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'face_embeddings'::regclass AND tgenabled <> 'O'"
    assert one_value(gallery, disabled) == 0


def test_a_dlib_gallery_becomes_an_sface_gallery_by_one_command(
    settings: Settings, run: Run, photos: Photos, sface: Engine
) -> None:
    run("init", "--model", "dlib")
    with Gallery.open(settings) as gallery:
        enroll(gallery, photos)
        Accounts(gallery).set_password(email("Tony_Blair"), "four plain words here", client=Client())
        kept = "SELECT id, user_id, filename, filepath, created_at, content_sha256 FROM photos ORDER BY id"
        before = rows_of(gallery, kept), rows_of(gallery, "SELECT * FROM users ORDER BY id")
        old = embeddings_of(gallery)
    done = run("reembed", "--model", "sface")
    assert says.EMBEDDED_WITH.format(faces=6, before="dlib", model="sface", new=6) in done.stdout
    assert says.GALLERY_HAS_THE_MODEL_NOW.format(model="sface") in done.stdout
    with Gallery.open(settings) as gallery:
        require_switched(gallery)
        assert (rows_of(gallery, kept), rows_of(gallery, "SELECT * FROM users ORDER BY id")) == before
        new = embeddings_of(gallery)
        assert new.keys() == old.keys()
        by_photo = rows_of(gallery, "SELECT fe.id, p.filename FROM face_embeddings fe JOIN photos p ON p.id = photo_id")
        for number, filename in by_photo:
            person, _, digits = filename.removesuffix(".jpg").rpartition("_")
            assert new[number] @ embedding(sface, photos(person, int(digits))) > 0.9
        for person in PEOPLE:
            (face,) = gallery.identify(photos(person, 3)).faces[:1]
            assert [match.email for match in face.matches] == [email(person)]
        assert gallery.identify(photos("Hugo_Chavez", 1)).faces[0].matches == ()
        config = gallery.config
        assert (config.verify_threshold, config.identify_threshold) == (
            SFACE_THRESHOLDS.verify_threshold,
            SFACE_THRESHOLDS.identify_threshold,
        )
        assert [round(anchor.similarity, 4) for anchor in config.anchors] == [
            similarity for _, similarity, _ in SFACE_THRESHOLDS.fmr_thresholds
        ]
    again = run("reembed", "--model", "sface")
    assert says.GALLERY_HAD_THE_MODEL.format(model="sface") in again.stdout
    assert json.loads(run("reembed", "--model", "sface", "--json").stdout)["outcome"] == "unchanged"


def test_calibration_is_asked_for_again(people: Gallery, run: Run) -> None:
    values = {
        **dict.fromkeys(("threshold_likely", "threshold_low", "threshold_high", "threshold_before"), 0.4),
        **dict.fromkeys(("target", "rate", "rate_low", "rate_high"), 0.01),
        **dict.fromkeys(("people", "photos", "failures_to_enroll", "mated_pairs", "non_mated_pairs"), 9),
        **{
            "kind": "identify",
            "threshold": people.config.identify_threshold,
            "extrapolated": False,
            "source": "photos",
        },
        **{"model_name": people.config.model_name, "people_enrolled": 3},
        "weights_sha256": people.config.weights_sha256,
    }
    columns, places = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    with people.database.transaction() as connection:
        connection.execute(f"INSERT INTO calibrations ({columns}) VALUES ({places})".encode(), values)
    assert NOT_CALIBRATED not in read_advice(people.database, people.status())
    reembed(people.settings, model="sface")
    people.adopt_model()
    assert NOT_CALIBRATED in read_advice(people.database, people.status())
    assert NOT_CALIBRATED[0] in run("doctor", code=None).stdout


def test_originals_replace_crops(
    people: Gallery, run: Run, photos: Photos, sface: Engine, tmp_path: Path, settings: Settings
) -> None:
    """By their content wherever they are, else by their person's folder and name. The rest is embedded from crops."""
    folder = tmp_path / "originals"
    (folder / "elsewhere" / "deeper").mkdir(parents=True)
    shutil.copy(photos("Tony_Blair", 1), folder / "elsewhere" / "deeper" / "renamed.bin")
    other = folder / email("Colin_Powell") / photos("Colin_Powell", 1).name
    other.parent.mkdir()
    Image.open(photos("Colin_Powell", 1)).save(other, quality=97)  # the same picture in another file
    (folder / email("Colin_Powell") / photos("Colin_Powell", 2).name).write_bytes(b"no photo")
    report = json.loads(run("reembed", "--model", "sface", "--photos", folder, "--faces", "largest", "--json").stdout)
    assert (report["outcome"], report["new"], report["of_photos"], report["lost"]) == ("switched", 6, 2, [])
    found = {
        name: (vector.to_numpy(), Box(*box))
        for name, vector, *box in rows_of(
            people,
            "SELECT p.filename, fe.embedding, box_x, box_y, box_width, box_height "
            "FROM face_embeddings fe JOIN photos p ON p.id = fe.photo_id",
        )
    }
    for filename, photo in (("Tony_Blair_0001.jpg", photos("Tony_Blair", 1)), ("Colin_Powell_0001.jpg", other)):
        (face,) = sface.detect_and_embed(np.asarray(Image.open(photo).convert("RGB")), lambda found: found[:1])
        assert found[filename][0] @ face.embedding > 0.9999
        assert found[filename][1] == pytest.approx(face.box, abs=0.01)
    crop_only = found["Gerhard_Schroeder_0001.jpg"]
    (face,) = sface.detect_and_embed(
        np.asarray(Image.open(photos("Gerhard_Schroeder", 1)).convert("RGB")), lambda found: found[:1]
    )
    assert 0.5 < overlap(crop_only[1], face.box) < 1  # the box of the enrollment, by the other detector
    with pytest.raises(GalleryError, match=says.NO_SUCH_FOLDER.pattern(folder=tmp_path / "missing")):
        reembed(settings, model="buffalo_sc_q8", photos=tmp_path / "missing")


def test_a_face_of_a_group_photo_is_found_by_its_place(gallery: Gallery, group_photo: Path) -> None:
    users = [gallery.add_user(f"person{number}@example.org").id for number in range(6)]
    gallery.enroll_all(group_photo, users)
    originals = gallery.settings.data_dir / "originals"
    originals.mkdir()
    shutil.copy(group_photo, originals)
    boxes = "SELECT user_id, box_x FROM face_embeddings ORDER BY user_id"
    before = dict(rows_of(gallery, boxes))
    report = reembed(gallery.settings, model="sface", photos=originals)
    assert (report.outcome, report.of_photos) == ("switched", 6)
    for user_id, x in rows_of(gallery, boxes):
        assert x == pytest.approx(before[user_id], abs=40)
        assert x != before[user_id]


def test_a_dry_run_says_how_identification_changes(gallery: Gallery, faces_dir: Path, run: Run) -> None:
    gallery.enroll_folder(faces_dir, face="largest")
    gallery.enroll_embedding(np.ones(512), gallery.users()[0].id)
    old = stored_embeddings(gallery.database, gallery.settings.photos_dir, gallery.config.id)
    done = run("reembed", "--model", "sface", "--dry-run")
    with gallery.database.transaction() as connection:
        found = connection.execute("SELECT embedding_id, embedding FROM reembedded_faces", binary=True)
        new = {number: vector.to_numpy() for number, vector in found}
    assert len(new) == 100
    owners = np.array([face.user_id for face in old.photos])
    searched = right_before = right_after = 0
    kept = [row for row, face in enumerate(old.photos) if face.embedding_id in new]
    for row, face in enumerate(old.photos):
        others = [other for other in range(len(owners)) if other != row]
        searched += 1
        best = max(others, key=lambda other: float(old.embeddings[other] @ old.embeddings[row]))
        right_before += owners[best] == owners[row]
        if face.embedding_id in new:
            probe = new[face.embedding_id]
            best = max(
                (other for other in kept if other != row),
                key=lambda other: float(new[old.photos[other].embedding_id] @ probe),
            )
            right_after += owners[best] == owners[row]
    assert searched == 101
    assert right_before < 101
    report = json.loads(run("reembed", "--model", "sface", "--dry-run", "--json").stdout)
    assert report["rank1"] == {"searches": searched, "before": right_before, "after": right_after}
    assert (report["outcome"], report["lost_embeddings"], report["embedded"]) == ("dry run", 1, 0)
    expected = says.RIGHT_FIRST.format(before=right_before, _=f"{right_before / 1.01:.1f}", searches=101)
    assert expected in " ".join(done.stdout.split())
    assert says.DRY_RUN in done.stdout
    # Nothing has changed, and the new embeddings wait until they are deleted.
    assert gallery.config.model_name == "buffalo_sc_q8"
    assert np.array_equal(
        stored_embeddings(gallery.database, gallery.settings.photos_dir, gallery.config.id).embeddings, old.embeddings
    )
    assert says.DELETED.format(deleted=100) in run("reembed", "--abort").stdout
    assert one_value(gallery, "SELECT pg_relation_size('reembedded_faces')") == 0
    assert json.loads(run("reembed", "--abort", "--json").stdout) == {"deleted": 0}
    run("reembed", code=2)


def test_a_killed_run_continues(gallery: Gallery, faces_dir: Path, run: Run, settings: Settings) -> None:
    gallery.enroll_folder(faces_dir, face="largest")
    old = embeddings_of(gallery)
    command = [sys.executable, "-m", "pgface", "reembed", "--model", "sface"]
    environment = {**without_settings(), **environment_of(settings), "PGFACE_WORKERS": "1"}
    for waiting in (16, 48):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 120
            while one_value(gallery, WAITING) < waiting and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
        assert waiting <= one_value(gallery, WAITING) < 100
        assert gallery.config.model_name == "buffalo_sc_q8"
        assert all(np.array_equal(vector, old[number]) for number, vector in embeddings_of(gallery).items())
    report = json.loads(run("reembed", "--model", "sface", "--json").stdout)
    assert report["from_earlier_runs"] >= 48
    assert report["from_earlier_runs"] + report["embedded"] == report["new"] == 100
    require_switched(gallery)


def test_what_changes_meanwhile(
    people: Gallery, photos: Photos, sface: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People can be enrolled, deleted and merged during the run, and also at the last moment."""
    gone, merged, kept = (people.user(email(person)) for person in PEOPLE)
    other = people.enroll(photos("Tony_Blair", 4), "other@example.org", by_themselves=True)
    assert [face.photo_id for face in people.contested_faces()] == [other.photo_id]

    def meanwhile(done: int, total: int) -> None:
        if done == total == 7:
            people.enroll(photos("Hugo_Chavez", 1), "hugo@example.org", face="largest")
            people.erase_user(gone.id)
            people.merge_users(merged.id, kept.id)

    def at_the_last_moment(*arguments: Any) -> Any:
        people.enroll(photos("Vladimir_Putin", 1), "putin@example.org", face="largest")
        people.erase_photo(people.photos(kept.id)[0].id)
        return switching.writes_blocked(*arguments)

    monkeypatch.setattr(reembedding, "writes_blocked", at_the_last_moment)
    report = reembed(people.settings, model="sface", on_progress=meanwhile)
    assert (report.outcome, report.lost) == ("switched", ())
    require_switched(people)
    with pytest.raises(UnknownUserError):
        people.user(gone.id)
    people.adopt_model()
    assert {user.email for user in people.users()} == {
        kept.email, "other@example.org", "hugo@example.org", "putin@example.org"
    }  # fmt: skip
    assert people.user(kept.id).photos == 3
    expected = {photo.id: embedding(sface, photos(*_photo(photo.filename))) for photo in people.photos()}
    stored = rows_of(
        people,
        "SELECT photo_id, embedding FROM face_embeddings UNION ALL SELECT photo_id, embedding FROM contested_faces",
    )
    assert {photo_id for photo_id, _ in stored} == expected.keys()
    for photo_id, vector in stored:
        assert vector.to_numpy() @ expected[photo_id] > 0.9
    assert people.identify(photos("Vladimir_Putin", 2)).faces[0].matches[0].email == "putin@example.org"


def _photo(filename: str) -> tuple[str, int]:
    person, _, digits = filename.removesuffix(".jpg").rpartition("_")
    return person, int(digits)


def test_deletions_delete_the_waiting_embeddings(people: Gallery) -> None:
    reembed(people.settings, model="sface", dry_run=True)
    first, second, third = (people.user(email(person)).id for person in PEOPLE)
    waiting = "SELECT user_id, count(*) FROM reembedded_faces GROUP BY 1 ORDER BY 1"
    assert rows_of(people, waiting) == [(first, 2), (second, 2), (third, 2)]
    with service_role(people.settings) as of_service, Gallery.open(of_service) as service:
        service.erase_user(first)
        service.erase_photo(service.photos(second)[0].id)
    assert rows_of(people, waiting) == [(second, 1), (third, 2)]
    people.erase_face(second)
    with people.database.transaction() as connection:
        connection.execute("DELETE FROM face_embeddings WHERE id = (SELECT min(id) FROM face_embeddings)")
    assert rows_of(people, waiting) == [(third, 1)]
    with people.database.transaction() as connection:
        connection.execute("TRUNCATE face_embeddings")
    assert rows_of(people, waiting) == []


def test_lost_embeddings_need_permission(people: Gallery, run: Run) -> None:
    bare = people.add_user("bare@example.org").id
    people.load_embeddings([bare, bare, people.users()[0].id], np.eye(3, 512))
    lost = people.photos(people.user(email("Tony_Blair")).id)
    for photo in lost:
        store = people.files.store_of(photo.filepath)
        assert store is not None
        with people.database.transaction() as connection:
            assert store.delete(connection, [photo.filepath])
    refused = run("reembed", "--model", "sface", code=1)
    assert says.WITHOUT_A_PHOTO.format(email="bare@example.org", embeddings=2) in refused.stderr
    assert refused.stderr.count(says.FILE_OF_PHOTO_IS_NOT_HERE) == 2
    assert says.NOT_SWITCHED in refused.stderr
    assert people.config.model_name == "buffalo_sc_q8"
    assert len(embeddings_of(people)) == 9
    report = json.loads(run("reembed", "--model", "sface", "--drop-lost", "--json").stdout)
    assert (report["outcome"], report["lost_embeddings"], report["people_without_face"]) == ("switched", 5, 2)
    assert [found["photo_id"] for found in report["lost"]] == [*(photo.id for photo in lost), None, None]
    require_switched(people)
    people.adopt_model()
    assert len(people.users()) == 4
    assert len(people.photos()) == 6
    assert len(embeddings_of(people)) == 4
    with pytest.raises(ModelMismatchError):
        people.identify_embedding(np.ones(512), model_changes=0)


def test_one_run_at_a_time(people: Gallery) -> None:
    with people.database.dedicated_connection() as connection, reembedding_lock(connection):
        for call in (lambda: reembed(people.settings, model="sface"), lambda: abort_reembedding(people.settings)):
            with pytest.raises(TableLockedError, match=says.ANOTHER_RUN.pattern()):
                call()
    with people.database.dedicated_connection() as dead:
        dead.execute(queries()["take_reembedding"])
    assert reembed(people.settings, model="sface").outcome == "switched"


def test_another_model_waits(people: Gallery, settings: Settings, run: Run) -> None:
    reembed(settings, model="sface", dry_run=True)
    assert says.WAIT_FOR_A_CHANGE.format(waiting=6, model="sface") in run("doctor", code=None).stdout
    with people.database.transaction() as connection:
        connection.execute("UPDATE reembedding SET model = jsonb_set(model, '{weights_sha256}', '\"abcd\"')")
    with pytest.raises(GalleryError, match=says.ANOTHER_MODEL_WAITS.pattern(waiting=6, model="sface")):
        reembed(settings, model="sface")
    assert abort_reembedding(settings) == 6
    assert reembed(settings, model="sface").from_earlier_runs == 0


def test_only_the_owner_changes_the_model(people: Gallery) -> None:
    reembed(people.settings, model="sface", dry_run=True)
    with service_role(people.settings) as of_service:
        for call in (lambda: reembed(of_service, model="sface"), lambda: abort_reembedding(of_service)):
            with pytest.raises(DatabaseAccessError, match=says.ONLY_THE_OWNER.pattern()):
                call()
        assert of_service.database_url
        role = psycopg.conninfo.conninfo_to_dict(of_service.database_url.get_secret_value())["user"]
        with sql_as(people.settings, str(role)) as connection:
            for table in ("reembedding", "reembedded_faces"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT * FROM {table}".encode())


@pytest.mark.usefixtures("connection")
def test_a_gallery_without_a_model(settings: Settings) -> None:
    with pytest.raises(GalleryError, match=says.NOT_BOUND.pattern()):
        reembed(settings, model="sface")


def test_an_empty_gallery_and_people_with_one_photo(gallery: Gallery, photos: Photos) -> None:
    report = reembed(gallery.settings, model="sface", dry_run=True)
    assert (report.faces, report.rank1) == (0, None)
    gallery.enroll(photos("Tony_Blair", 1), "tony@example.org", face="largest")
    assert reembed(gallery.settings, model="sface", dry_run=True).rank1 is None
    assert reembed(gallery.settings, model="sface").new == 1
    require_switched(gallery)


# Other sessions


def test_no_session_sees_a_mixture(people: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the commit, others see the old model with the old embeddings."""
    old, seen = embeddings_of(people), []

    def look(*_: object) -> None:
        seen.append((one_value(people, "SELECT model_name FROM gallery"), embeddings_of(people)))

    monkeypatch.setattr(switching, "store_anchors", look)
    reembed(people.settings, model="sface")
    ((model, during),) = seen
    assert model == "buffalo_sc_q8"
    assert all(np.array_equal(during[number], old[number]) for number in old)
    assert not any(np.array_equal(vector, old[number]) for number, vector in embeddings_of(people).items())


def test_a_failed_switch_changes_nothing(people: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    old = embeddings_of(people)

    def fail(*_: object) -> None:
        raise TableLockedError

    monkeypatch.setattr(switching, "store_anchors", fail)
    with pytest.raises(TableLockedError):
        reembed(people.settings, model="sface")
    assert all(np.array_equal(vector, old[number]) for number, vector in embeddings_of(people).items())
    assert one_value(people, WAITING) == 6
    monkeypatch.undo()
    assert reembed(people.settings, model="sface").from_earlier_runs == 6
    require_switched(people)


def test_an_open_gallery_neither_searches_nor_enrolls_with_the_earlier_model(
    people: Gallery, photos: Photos, tmp_path: Path
) -> None:
    user, photo = people.users()[0].id, photos("Hugo_Chavez", 1)
    embedding = people.faces(photo)[0].embedding
    changes = people.config.model_changes
    reembed(people.settings, model="sface")
    before = embeddings_of(people)
    folder = tmp_path / "people" / "Hugo"
    folder.mkdir(parents=True)
    shutil.copy(photo, folder)
    calls: dict[str, Callable[[], object]] = {
        "identify": lambda: people.identify(photo),
        "identify a bare embedding": lambda: people.identify_embedding(embedding),
        "identify bare embeddings": lambda: people.identify_embeddings([embedding, embedding]),
        "verify": lambda: people.verify(photo, user, face="largest"),
        "verify a bare embedding": lambda: people.verify_embedding(embedding, user),
        "enroll": lambda: people.enroll(photo, "hugo@example.org", face="largest"),
        "enroll a bare embedding": lambda: people.enroll_embedding(embedding, user),
        "load embeddings": lambda: people.load_embeddings([user], [embedding]),
    }
    for call in calls.values():
        with pytest.raises(ModelMismatchError, match=says.EMBEDDING_OF_AN_EARLIER_MODEL.pattern()):
            call()
    with pytest.raises(ModelMismatchError):
        people.enroll_folder(folder.parent, face="largest")
    assert len(embeddings_of(people)) == len(before)
    assert [user.email for user in people.users()] == [email(person) for person in PEOPLE]

    people.adopt_model()
    assert people.engine.identity.name == people.config.model_name == "sface"
    assert people.identify(photos("Tony_Blair", 3)).faces[0].matches[0].email == email("Tony_Blair")
    assert people.enroll(photo, "hugo@example.org", face="largest").added
    with pytest.raises(ModelMismatchError):
        people.verify_embedding(embedding, user, model_changes=changes)


def test_a_gallery_that_was_opened_with_an_engine_stays_with_it(people: Gallery) -> None:
    with Gallery.open(people.settings, engine=people.engine) as opened:
        reembed(people.settings, model="sface")
        with pytest.raises(ModelMismatchError):
            opened.adopt_model()


def test_a_service_answers_with_one_error_and_then_with_the_new_model(people: Gallery, photos: Photos) -> None:
    people.settings.models_dir.mkdir(exist_ok=True)
    with TestClient(create_app(people), base_url="http://localhost", raise_server_exceptions=False) as client:
        key = bearer(create_key(people.database, "a program", ("identify", "enroll"), Client())[0])

        def identify() -> Any:
            sent = {"photo": file(photos("Tony_Blair", 3).read_bytes())}
            return client.post(f"{V1}/identify", headers=key, files=sent)

        assert identify().json()["model"] == "buffalo_sc_q8"
        reembed(people.settings, model="sface")
        refused = identify()
        assert code_of(refused, 503) == "model-mismatch"
        assert int(refused.headers["retry-after"]) > 0
        answer = identify().json()
        assert answer["model"] == "sface"
        assert answer["faces"][0]["matches"][0]["name"] == "Tony_Blair"


def test_templates_and_index_are_made_again(people: Gallery, photos: Photos) -> None:
    people.fit_search("hnsw")
    reembed(people.settings, model="sface")
    people.adopt_model()
    state = people.search_state()
    assert (state.method, state.suspended, state.stale_users) == ("hnsw", False, 0)
    means = "SELECT user_id, l2_normalize(avg(l2_normalize(embedding))) FROM face_embeddings GROUP BY 1 ORDER BY 1"
    templates = f"user_templates t JOIN ({means}) m(user_id, mean) USING (user_id)"
    distances = f"SELECT max(t.template <=> m.mean::halfvec(512)) FROM {templates}"
    assert one_value(people, distances) < 1e-3
    assert one_value(people, "SELECT count(*) FROM template_bits") == 3
    for person in PEOPLE:
        assert people.identify(photos(person, 3)).faces[0].matches[0].email == email(person)


def test_a_large_gallery_gets_its_indexes_back(gallery: Gallery, photos: Photos) -> None:
    """Also when all but a few embeddings are lost."""
    user = gallery.enroll(photos("Tony_Blair", 1), "tony@example.org", face="largest").user
    bare = gallery.add_user("bare@example.org")
    random = np.random.default_rng(0)
    gallery.load_embeddings([bare.id] * 1_200, random.normal(size=(1_200, 512)))
    assert gallery.status().index == "hnsw"
    report = reembed(gallery.settings, model="sface", drop_lost=True)
    assert (report.lost_embeddings, report.people_without_face) == (1_200, 1)
    gallery.adopt_model()
    status = gallery.status()
    assert (status.index, status.embeddings, status.search) == ("hnsw", 1, "exact")
    assert gallery.verify(photos("Tony_Blair", 2), user.id, face="largest").match
    require_switched(gallery)


# Backups


def test_a_backup_leaves_out_what_waits(people: Gallery, settings: Settings, databases: Any, tmp_path: Path) -> None:
    reembed(settings, model="sface", dry_run=True)
    report = back_up(settings, tmp_path / "gallery.tar")
    assert report.manifest.gallery.model_name == "buffalo_sc_q8"
    assert report.manifest.other_tables == ()
    url = databases.create()
    values = {"database_url": url, "PGFACE_SCHEMA": settings.schema_name, "data_dir": tmp_path / "elsewhere"}
    copy = Settings.model_validate(values)
    shutil.copytree(settings.models_dir, copy.models_dir)
    restore(copy, tmp_path / "gallery.tar", lambda: "")
    with Gallery.open(copy) as restored:
        assert one_value(restored, WAITING) == 0
        old = embeddings_of(people)
        assert all(np.array_equal(vector, old[number]) for number, vector in embeddings_of(restored).items())
    assert one_value(people, WAITING) == 6
    assert reembed(settings, model="sface").outcome == "switched"
    back_up(settings, tmp_path / "after.tar")
    databases.drop(url)
