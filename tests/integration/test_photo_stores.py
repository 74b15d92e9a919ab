"""Crops in a folder, in PostgreSQL and in an S3-compatible store, and moving them while the gallery is in use."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pgface.database.sql import queries
from pgface.errors import (
    DatabaseUnreachableError,
    FaceOfAnotherUserError,
    GalleryError,
    SettingsError,
    StorageError,
    UnknownPhotoError,
)
from pgface.evaluation.reports.pages import stored_pictures
from pgface.evaluation.stored_embeddings import stored_embeddings
from pgface.galleries import Galleries
from pgface.gallery import Gallery
from pgface.gallery.config import read_config
from pgface.gallery.photo_batch import PhotoBatch
from pgface.gallery.photo_inventory import take_inventory
from pgface.operations.backup import back_up
from pgface.operations.backup.restore import restore
from pgface.operations.move_photos import move_photos
from pgface.settings import Settings
from support.backups import elsewhere, no_passphrase
from support.commands import environment_of, without_settings
from support.compreface import caller
from support.databases import Databases
from support.doctor import cli, findings_of, fix, settings_with
from support.embedded_server import eventually
from support.galleries import link_pack, one_value
from support.object_store import ObjectStore, serving_objects
from support.photo_store import BUCKET, LOCATION
from support.photos import Photos
from support.sentences import photo_stores as says
from support.web_service import V1, Served, file

SCHROEDER, BUSH, POWELL = "Gerhard_Schroeder", "George_W_Bush", "Colin_Powell"
ROUNDS = int(os.environ.get("PGFACE_TEST_ROUNDS", "1"))
"""How many times a move is killed."""
NOTES = "SELECT count(*) FROM deleted_photo_files"
AGE = "UPDATE deleted_photo_files SET written_at = now() - INTERVAL '1 hour' WHERE written_at IS NOT NULL"
CROPS = "SELECT count(*) FROM photo_crops"


@pytest.fixture(scope="module")
def objects() -> Iterator[ObjectStore]:
    with serving_objects() as store:
        yield store


@pytest.fixture
def store(objects: ObjectStore) -> Iterator[ObjectStore]:
    """The S3-compatible store, which is empty."""
    yield objects
    objects.delete_all()


def in_store(settings: Settings, location: str, **values: Any) -> Settings:
    """Return the same settings with a photo store."""
    return settings_with(settings, photo_store=location, **values)


@pytest.fixture
def open_in(settings: Settings, insightface_pack: Path, gallery: Gallery) -> Any:
    """Opens the gallery, which has no photos yet, with a photo store."""
    gallery.close()

    def opened(location: str) -> Gallery:
        link_pack(insightface_pack, settings.models_dir) if not settings.models_dir.exists() else None
        return Gallery.create(in_store(settings, location))

    return opened


def stored(gallery: Gallery, objects: ObjectStore) -> int:
    """Count the crops in all stores."""
    files = [file for file in gallery.settings.photos_dir.rglob("*.jpg") if file.is_file()]
    return len(files) + len(objects.keys()) + int(one_value(gallery, CROPS))


@pytest.mark.parametrize(
    ("location", "other"), [("postgres", LOCATION), (LOCATION, "postgres")], ids=["postgres", "s3"]
)
def test_a_photo_and_its_crop_exist_together(
    open_in: Any, store: ObjectStore, photos: Photos, location: str, other: str, tmp_path: Path, databases: Databases
) -> None:
    with open_in(location) as gallery:
        first = gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
        gallery.enroll(photos(BUSH, 1), "george@example.org")
        assert stored(gallery, store) == 2
        assert not gallery.settings.photos_dir.exists()
        (photo, _) = gallery.photos()
        assert Image.open(io.BytesIO(gallery.crop(photo))).size == (224, 224)
        assert all("gerhard" not in key and SCHROEDER not in key for key in [photo.filepath, *store.keys()])

        # What fails leaves no crop.
        with pytest.raises(FaceOfAnotherUserError):
            gallery.enroll(photos(SCHROEDER, 2), "colin@example.org")

        def fail(*_: Any) -> None:
            raise GalleryError("stop")

        with pytest.raises(GalleryError, match="stop"):
            gallery.enroll(photos(POWELL, 1), "colin@example.org", within=fail)
        assert not gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org").added
        assert (stored(gallery, store), one_value(gallery, NOTES)) == (2, 0)

        # A backup has the crops as files, so it can be restored into any store.
        archive = tmp_path / "gallery.tar"
        made = back_up(gallery.settings, archive).manifest.photos
        assert made is not None
        assert (made.files, made.missing) == (2, 0)
        crops = {photo.id: gallery.crop(photo) for photo in gallery.photos()}
        url = databases.create()
        there = elsewhere(gallery.settings, tmp_path / "there", database_url=url, photo_store=other)
        assert restore(there, archive, no_passphrase, copy=True).photo_files == 2
        with Gallery.open(there) as restored:
            assert {photo.id: restored.crop(photo) for photo in restored.photos()} == crops
            assert restored.config.photo_store == other
            assert findings_of(there, "photo files")[0].state == "fine"
            restored.erase_user("gerhard@example.org")
            restored.erase_user("george@example.org")
        databases.drop(url)

        # Pages with pictures have them, too.
        settings: Settings = gallery.settings
        faces = stored_embeddings(gallery.database, settings.photos_dir, gallery.config.id).photos
        assert all(picture.data for picture in stored_pictures(faces, settings).values())

        # The deletion of a row deletes its crop, also by SQL.
        gallery.erase_photo(first.photo_id)
        with pytest.raises(UnknownPhotoError):
            gallery.crop(photo)
        assert (stored(gallery, store), one_value(gallery, NOTES)) == (1, 0)
        with gallery.database.transaction() as connection:
            connection.execute("TRUNCATE photos CASCADE")
        gallery.clean_photo_store()
        assert (stored(gallery, store), one_value(gallery, NOTES)) == (0, 0)


def test_two_hosts_cannot_disagree(open_in: Any, photos: Photos) -> None:
    with open_in("postgres") as gallery:
        settings: Settings = gallery.settings
        gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    with pytest.raises(SettingsError) as refused:
        Gallery.open(in_store(settings, LOCATION))
    assert says.ANOTHER_STORE.is_in(str(refused.value), asked=LOCATION, present="postgres")
    with pytest.raises(SettingsError):
        Gallery.create(in_store(settings, "folder"))
    assert findings_of(in_store(settings, LOCATION), "photo files")[0].state == "problem"
    with Gallery.open(settings_with(settings)) as gallery:  # without the setting
        assert gallery.status().photo_store == "postgres"
        gallery.enroll(photos(BUSH, 1), "george@example.org")
        assert one_value(gallery, CROPS) == 2
    for wrong in ("s3://", "s3://Bucket", "s3://faces/../other", "ftp://faces", "s3://faces/a b"):
        with pytest.raises(GalleryError):
            move_photos(settings, wrong)
        with pytest.raises(ValueError, match="photo_store"):
            in_store(settings, wrong)


def test_an_object_of_a_crashed_enrollment_is_deleted(
    open_in: Any, store: ObjectStore, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_in(LOCATION) as gallery:

        def crash(*_: Any) -> None:
            raise DatabaseUnreachableError

        with pytest.raises(DatabaseUnreachableError):
            gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org", within=crash)
        gallery.clean_photo_store()  # it may be running still
        assert (len(store.keys()), one_value(gallery, NOTES)) == (1, 1)
        assert gallery.status().photos_to_delete == 0
        assert gallery.stray_photo_files() == []

        with gallery.database.transaction() as connection:
            connection.execute(AGE)
        gallery.clean_photo_store()
        assert (len(store.keys()), one_value(gallery, NOTES)) == (0, 0)

        # The clean-up takes an object of an enrollment that was only slow, which then writes another one.
        write_early = PhotoBatch.write_early

        def clean_up_then(batch: PhotoBatch) -> None:
            write_early(batch)
            with gallery.database.transaction() as connection:
                connection.execute(AGE)
            gallery.clean_photo_store()
            assert store.keys() == []

        with monkeypatch.context() as patch:
            patch.setattr(PhotoBatch, "write_early", clean_up_then)
            gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
        assert gallery.crop(gallery.photos()[0])
        assert (len(store.keys()), one_value(gallery, NOTES)) == (1, 0)


def test_a_deletion_is_not_forgotten_while_the_store_is_down(
    open_in: Any, store: ObjectStore, photos: Photos, settings: Settings
) -> None:
    with open_in(LOCATION) as gallery:
        gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
        with store.down():
            gallery.erase_user("gerhard@example.org")
            assert gallery.photos() == []
            assert gallery.status().photos_to_delete == 1
            with pytest.raises(StorageError) as refused:
                gallery.enroll(photos(BUSH, 1), "george@example.org")
            assert says.STORE_NOT_REACHED.is_in(str(refused.value), location=LOCATION)
            assert gallery.users() == []
            with gallery.database.transaction() as connection:
                connection.execute("UPDATE deleted_photo_files SET deleted_at = now() - INTERVAL '2 hours'")
            waiting, unreachable = findings_of(settings, "photo files")
            assert {waiting.state, unreachable.state} == {"problem"}
            assert says.CROPS_NOT_DELETED.is_in(waiting.found, count=2)
            assert "not deleted yet" in cli(settings)("status").stdout
        assert len(store.keys()) == 1
        fix(settings, "photo files")
        assert (store.keys(), one_value(gallery, NOTES)) == ([], 0)
        store.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        assert says.BUCKET_KEEPS_VERSIONS.is_in(findings_of(settings, "photo files")[0].found, location=LOCATION)
        store.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def test_objects_of_a_deleted_gallery_are_deleted_when_the_store_is_back(
    open_in: Any, store: ObjectStore, photos: Photos
) -> None:
    with open_in(LOCATION) as gallery, Galleries.open(gallery.settings) as galleries:
        galleries.create("staff")
        assert galleries["staff"].config.photo_store == LOCATION
        gallery.enroll(photos(BUSH, 1), "george@example.org")
        galleries["staff"].enroll(photos(SCHROEDER, 1), "gerhard@example.org")
        with store.down():
            galleries.delete("staff")
        assert len(store.keys()) == 2
        assert gallery.status().photos_to_delete == 1
        gallery.clean_photo_store()
        (left,) = store.keys()
        assert str(gallery.config.id) in left
        assert one_value(gallery, NOTES) == 0


def test_a_restore_beside_a_gallery_does_not_touch_its_objects(
    open_in: Any, store: ObjectStore, databases: Databases, tmp_path: Path
) -> None:
    archive = tmp_path / "gallery.tar"
    with open_in(LOCATION) as gallery:
        add_photos(gallery, 1)
        back_up(gallery.settings, archive)
        for in_place in (False, True):
            url = databases.create()
            there = elsewhere(gallery.settings, tmp_path / "there", database_url=url, photo_store="postgres")
            restore(there, archive, no_passphrase, in_place=in_place)
            with Gallery.open(there) as restored:
                found = restored.stray_photo_files()
                assert (len(found), restored.remove_stray_photo_files()) == (in_place, found)
            databases.drop(url)
            assert len(store.keys()) == (not in_place)


def add_photos(gallery: Gallery, number: int) -> None:
    """Add photos of one user quickly, with different bytes."""
    user = gallery.add_user(f"{uuid.uuid4().hex}@example.org", name="Many")
    with gallery.files.writing() as batch, gallery.database.transaction() as connection:
        connection.execute(queries()["lock_enrollment"])
        batch.join(connection)
        for _ in range(number):
            file = io.BytesIO()
            Image.frombytes("RGB", (8, 8), os.urandom(192)).save(file, "JPEG")
            connection.execute(
                "INSERT INTO photos (user_id, filename, filepath, width, height) VALUES (%s, 'x', %s, 8, 8)",
                (user.id, batch.add_jpeg(file.getvalue())),
            )


class Busy:
    """Enrolls, reads and deletes in threads, and collects what fails."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(act,)) for act in (self._enroll, self._read)]
        self.errors: list[BaseException] = []
        self.counts = {"enrolled": 0, "read": 0, "deleted": 0}

    def __enter__(self) -> Busy:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, act: Any) -> None:
        while not self._end.wait(0.01):
            try:
                act()
            except Exception as error:
                self.errors.append(error)
                return

    def _enroll(self) -> None:
        add_photos(self._gallery, 1)
        self.counts["enrolled"] += 1

    def _read(self) -> None:
        listed = self._gallery.photos()
        photo = random.choice(listed)  # noqa: S311
        assert self._gallery.crop(photo)[:2] == b"\xff\xd8"
        self.counts["read"] += 1
        if self.counts["read"] % 3 == 0:
            self._gallery.erase_photo(random.choice(listed).id)  # noqa: S311
            self.counts["deleted"] += 1


def require_all_in(gallery: Gallery, location: str, objects: ObjectStore) -> None:
    """Check that every photo has its crop in one store, and that no other crop exists."""
    inventory = take_inventory(gallery.database, gallery.files)
    photos = gallery.photos()
    assert inventory.stored == {location: len(photos)}
    assert (inventory.elsewhere, inventory.foreign, inventory.missing, inventory.strays) == (0, 0, (), ())
    assert stored(gallery, objects) == len(photos)
    assert one_value(gallery, NOTES) == 0


def test_photos_move_while_the_gallery_is_in_use(open_in: Any, store: ObjectStore, settings: Settings) -> None:
    with open_in("folder") as gallery:
        add_photos(gallery, 40)
    with Gallery.open(settings_with(settings)) as gallery:
        for location in ("postgres", LOCATION, "folder"):
            with Busy(gallery) as busy:
                report = move_photos(gallery.settings, location)
                while min(busy.counts.values()) == 0 and not busy.errors:
                    time.sleep(0.01)
            assert busy.errors == []
            assert (report.missing, report.elsewhere, report.left) == ([], 0, 0)
            gallery.clean_photo_store()
            require_all_in(gallery, location, store)
            assert gallery.status().photo_store == location
        assert json.loads(cli(settings)("photos", "move", "--to", "postgres/", "--json").stdout)["moved"] > 10
        require_all_in(gallery, "postgres", store)


def test_a_move_ends_although_others_enroll_faster(open_in: Any, store: ObjectStore) -> None:
    with open_in("folder") as gallery:
        add_photos(gallery, 10)
        ended = threading.Event()
        before_switch: list[bool] = []

        def enroll_until_the_end() -> None:
            while not ended.is_set():
                in_folder = read_config(gallery.database).photo_store == "folder"
                add_photos(gallery, 10 if in_folder else 1)
                before_switch.append(in_folder)

        with ThreadPoolExecutor(2) as threads, store.slow(0.03):
            enrolling = threads.submit(enroll_until_the_end)
            assert eventually(lambda: len(before_switch) > 1, 10)
            moving = threads.submit(move_photos, gallery.settings, LOCATION)
            try:
                report = moving.result(20)
            finally:
                ended.set()
                enrolling.result()
        assert (report.missing, report.left) == ([], 0)
        assert report.moved >= 10 * sum(before_switch)  # one batch of photos may have met the switch
        assert not before_switch[-1]  # others enrolled until the end
        gallery.clean_photo_store()
        require_all_in(gallery, LOCATION, store)


def test_a_move_to_a_store_that_changes_bytes_can_be_taken_back(
    open_in: Any, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_in("folder") as gallery:
        add_photos(gallery, 2)
        with monkeypatch.context() as damaged:
            damaged.setattr(PhotoBatch, "is_stored", lambda *_: False)
            with pytest.raises(StorageError) as failed:
                move_photos(gallery.settings, LOCATION)
        assert str(failed.value) == says.STORE_CHANGES_BYTES.format(location=LOCATION, before="folder")
        add_photos(gallery, 1)
        assert move_photos(gallery.settings, "folder").moved == 1
        require_all_in(gallery, "folder", store)


def test_a_killed_move_continues(open_in: Any, store: ObjectStore, settings: Settings) -> None:
    with open_in("folder") as gallery:
        add_photos(gallery, 150)
    targets = ["postgres", LOCATION, "folder"]
    killed = 0
    with Gallery.open(settings_with(settings)) as gallery:
        before = {photo.id: gallery.crop(photo) for photo in gallery.photos()}
        for number in range(ROUNDS):
            target = targets[number % 3]
            command = [sys.executable, "-m", "pgface", "photos", "move", "--to", target]
            moving = subprocess.Popen(
                command,
                env=without_settings() | environment_of(settings),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            moved = "SELECT count(*) FROM photos WHERE split_part(filepath, '/', 2) = %s"
            wanted, part = random.randint(1, 120), gallery.files.store(target).prefix.split("/")[1]  # noqa: S311
            while moving.poll() is None:
                with gallery.database.transaction() as connection:
                    ((done,),) = connection.execute(moved, (part,)).fetchall()
                if done >= wanted:
                    moving.kill()
            killed += moving.wait() != 0
            assert {photo.id: gallery.crop(photo) for photo in gallery.photos()} == before
            move_photos(settings, target)
            with gallery.database.transaction() as connection:
                connection.execute(AGE)
            gallery.clean_photo_store()
            gallery.clean_photo_store()
            require_all_in(gallery, target, store)
            assert {photo.id: gallery.crop(photo) for photo in gallery.photos()} == before
    assert killed >= ROUNDS // 2


def test_a_move_leaves_what_it_cannot_read(
    open_in: Any, store: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    with open_in("folder") as gallery:
        add_photos(gallery, 3)
        lost = gallery.photos()[0]
        gallery.photo_file(lost).unlink()
        report = move_photos(gallery.settings, LOCATION)
        assert (report.moved, report.missing) == (2, [lost.id])
        add_photos(gallery, 1)
        assert len(store.keys()) == 3
    # Another machine has another folder, which does not have the lost file either.
    there = move_photos(settings_with(settings, data_dir=tmp_path / "other"), "postgres")
    assert (there.moved, there.elsewhere, there.missing) == (3, 1, [])
    with store.down(), pytest.raises(StorageError):
        move_photos(settings, LOCATION)
    with Gallery.open(settings_with(settings)) as gallery:
        assert one_value(gallery, CROPS) == 3
        assert gallery.config.photo_store == "postgres"


def test_the_service_answers_from_every_store(api: Served, store: ObjectStore, photos: Photos) -> None:
    admin = api.key("admin", "enroll")
    photo = {"photo": file(photos(SCHROEDER, 1).read_bytes())}
    enrolled = api.client.post(f"{V1}/photos", headers=admin, files=photo, data={"email": "g@example.org"}).json()
    path = f"{V1}/users/{enrolled['user']['id']}/photos/{enrolled['photo_id']}"
    crop = api.client.get(f"{path}/crop", headers=admin).content
    assert crop.startswith(b"\xff\xd8")
    compreface = caller(api)
    examples: dict[str, bytes] = {}
    calibrated = "SELECT verify_threshold, identify_threshold, (SELECT count(*) FROM confidence_anchors) FROM gallery"
    before = api.execute(calibrated)
    try:
        for location in ("postgres", LOCATION):
            move_photos(api.owner.settings, location)
            assert api.client.get(f"{path}/crop", headers=admin).content == crop
            assert api.client.get(f"{V1}/status", headers=admin).json()["photo_store"] == location
            added = compreface.add(location, photos(POWELL, len(examples) + 1).read_bytes())
            examples[added] = compreface.send("GET", f"/faces/{added}/img").content
            for example, picture in examples.items():
                assert picture.startswith(b"\xff\xd8")
                assert compreface.send("GET", f"/faces/{example}/img").content == picture
        assert len(store.keys()) == 1 + len(examples)
        assert compreface.done("DELETE", "/faces") == {"deleted": len(examples)}
        assert api.client.delete(path, headers=admin).status_code == 204
        assert api.client.get(f"{path}/crop", headers=admin).status_code == 404
        assert store.keys() == []
    finally:
        move_photos(api.owner.settings, "folder")
    with store.down():  # which the service need not know
        photo = {"photo": file(photos(SCHROEDER, 1).read_bytes())}
        again = api.client.post(f"{V1}/photos", headers=admin, files=photo, data={"email": "g@example.org"})
        assert again.status_code == 201, again.text
    assert one_value(api.owner, NOTES) == 0
    assert api.execute(calibrated) == before
