"""A backup is consistent while users are enrolled and deleted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgface.errors import (
    GalleryError,
)
from pgface.gallery import Gallery
from pgface.gallery.photo_inventory import take_inventory
from pgface.operations.backup import back_up
from pgface.operations.backup.archive import ArchiveWriter
from pgface.operations.backup.restore import restore
from support.backups import elsewhere, existing_crops, no_passphrase
from support.citus import CITUS_URL, not_on_a_cluster
from support.commands import environment_of, without_settings
from support.galleries import one_value
from support.photo_store import PHOTO_STORE
from support.photos import Photos
from support.sentences import backup as says

pytestmark = pytest.mark.slow

NEW_SCHEMA = "new_" if CITUS_URL else "new "

BUSY = """
import sys
from itertools import count
from pgface.gallery import Gallery
from pgface.gallery.photo_inventory import take_inventory

with Gallery.open() as gallery:
    for number in count():
        user = f"{number}@example.org"
        gallery.enroll(sys.argv[1], user, face="largest", allow_other_user=True)
        print("enrolled", flush=True)
        if number % 3:
            gallery.erase_user(user)
"""


def test_rows_and_files_match_while_users_are_enrolled_and_deleted(
    enrolled: Gallery, photos: Photos, tmp_path: Path, empty_database: str
) -> None:
    command = [sys.executable, "-c", BUSY, str(photos("Tony_Blair", 1))]
    environment = without_settings() | environment_of(enrolled.settings)
    busy = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    archives = [tmp_path / f"{number}.tar" for number in range(4)]
    try:
        assert busy.stdout is not None
        for archive in archives:
            assert busy.stdout.readline() == "enrolled\n"
            made = back_up(enrolled.settings, archive).manifest.photos
            assert made is not None
            assert made.missing == 0
    finally:
        busy.kill()
        busy.communicate()
    sizes = set()
    for number, archive in enumerate(archives):
        settings = elsewhere(
            enrolled.settings,
            tmp_path / f"new {number}",
            database_url=empty_database,
            PGFACE_SCHEMA=f"{NEW_SCHEMA}{number}",
        )
        report = restore(settings, archive, no_passphrase)
        with Gallery.open(settings) as gallery:
            require_a_crop_for_each_photo(gallery)
            assert len(gallery.photos()) == report.photo_files
            assert one_value(gallery, "SELECT count(*) = count(photo_id) FROM face_embeddings")
            sizes.add(report.photo_files)
    assert len(sizes) > 1, "no user was enrolled meanwhile"
    # The files of users who were deleted during a backup are deleted as well.
    with Gallery.open(enrolled.settings) as gallery:
        assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 0
        require_a_crop_for_each_photo(gallery)


def require_a_crop_for_each_photo(gallery: Gallery) -> None:
    inventory = take_inventory(gallery.database, gallery.files)
    assert (inventory.elsewhere, inventory.foreign, inventory.missing, inventory.strays) == (0, 0, (), ())


@not_on_a_cluster("changes wait until the rows are in the archive")
def test_files_of_deleted_users_stay_until_the_end_of_a_backup(
    enrolled: Gallery, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [photo.filepath for photo in enrolled.photos()]
    copy = ArchiveWriter.add_dump

    def delete_all(writer: ArchiveWriter, blocks: Iterator[bytes]) -> None:
        for user in enrolled.users():
            enrolled.erase_user(user.id)
        # Rows of PostgreSQL are deleted at once, because the backup has a snapshot of them.
        assert existing_crops(enrolled, paths) == ([] if PHOTO_STORE == "postgres" else paths)
        monkeypatch.setattr("pgface.operations.backup.create._LOCK_TIMEOUT_SECONDS", 0.05)
        with pytest.raises(GalleryError, match=says.ANOTHER_BACKUP_IS_UNDER_WAY.pattern()):
            back_up(enrolled.settings, archive.with_name("second.tar"))
        copy(writer, blocks)

    monkeypatch.setattr(ArchiveWriter, "add_dump", delete_all)
    report = back_up(enrolled.settings, archive)
    assert report.manifest.tables["users"] == 2
    assert report.manifest.photos is not None
    assert report.manifest.photos.files == 4
    assert existing_crops(enrolled, paths) == []


def test_a_committed_photo_that_is_not_yet_in_its_place_is_in_the_archive(enrolled: Gallery, archive: Path) -> None:
    photo = enrolled.photos()[0]
    place = enrolled.photo_file(photo)
    incoming = place.parents[1] / "incoming"
    place.rename(incoming / place.name)
    assert back_up(enrolled.settings, archive).missing == ()
