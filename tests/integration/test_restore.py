"""A restore is refused for a damaged archive or a gallery with users, and an interrupted restore leaves nothing."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgface.database.migrate import migrate
from pgface.database.pool import Database
from pgface.errors import (
    ArchiveError,
    GalleryNotEmptyError,
    SchemaMissingError,
    StorageError,
)
from pgface.gallery import Gallery
from pgface.gallery.photo_stores.folder import RestoredFiles
from pgface.operations.backup import back_up, verify
from pgface.operations.backup import restore as restoring
from pgface.operations.backup.restore import restore
from support.backups import answers, elsewhere, existing_crops, has_nothing, no_passphrase
from support.galleries import contents
from support.photos import Photos
from support.sentences import backup as says

pytestmark = pytest.mark.slow


DAMAGE = "|".join(
    sentence.pattern() for sentence in (says.OTHER_CHECKSUM, says.ENDS_TOO_EARLY, says.MANIFEST_CANNOT_BE_READ)
)


def damaged(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :]


def test_a_damaged_archive_is_refused_before_anything_is_changed(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path
) -> None:
    back_up(enrolled.settings, archive)
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        places = [info.offset_data + info.size // 2 for info in tar.getmembers() if info.name != "SHA256SUMS"]
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    for data in (*(damaged(whole, place) for place in places), whole[: len(whole) // 2], whole[:-600]):
        archive.write_bytes(data)
        for check in (verify, restore):
            with pytest.raises(ArchiveError, match=rf"^[^\n]+({DAMAGE}).*\.$"):
                check(settings, archive, no_passphrase)
    assert not settings.data_dir.exists()
    with pytest.raises(SchemaMissingError), Database.open(settings):
        pass


def test_an_archive_that_changes_during_its_restore_is_not_restored(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(enrolled.settings, archive)
    with enrolled.database.transaction() as connection:
        connection.execute("UPDATE users SET name = 'Another name'")
    other = tmp_path / "other.tar"
    back_up(enrolled.settings, other)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)

    def replace_archive(connection: psycopg.Connection, schema_name: str) -> None:
        shutil.copy(other, archive)
        migrate(connection, schema_name)

    monkeypatch.setattr(restoring, "migrate", replace_archive)
    with pytest.raises(ArchiveError, match=says.CHANGED_WHILE_RESTORED.pattern()):
        restore(settings, archive, no_passphrase)
    assert has_nothing(settings)


def test_a_gallery_with_people_is_not_changed(enrolled: Gallery, archive: Path) -> None:
    back_up(enrolled.settings, archive)
    before = contents(enrolled)
    with pytest.raises(GalleryNotEmptyError, match=says.GALLERY_IS_NOT_EMPTY.pattern(table="users")):
        restore(enrolled.settings, archive, no_passphrase)
    assert contents(enrolled) == before


def test_an_empty_gallery_is_filled(enrolled: Gallery, photos: Photos, archive: Path) -> None:
    before = answers(enrolled, photos)
    back_up(enrolled.settings, archive)
    for user in enrolled.users():
        enrolled.erase_user(user.id)
    enrolled.close()
    restore(enrolled.settings, archive, no_passphrase)
    with Gallery.open(enrolled.settings, engine=enrolled.engine) as gallery:
        assert answers(gallery, photos) == before


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("prepare", KeyboardInterrupt),
        ("dump", KeyboardInterrupt),
        ("photo", OSError(28, "No space left on device")),
        ("finish", KeyboardInterrupt),
        ("sync", OSError(28, "No space left on device")),
    ],
)
def test_an_interrupted_restore_leaves_nothing(
    enrolled: Gallery,
    archive: Path,
    empty_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException | type[BaseException],
) -> None:
    back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    where: Any = RestoredFiles if step == "sync" else restoring._GalleryRestore
    original = getattr(where, step)

    def broken(*arguments: Any) -> None:
        original(*arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, step, broken)
        with pytest.raises((KeyboardInterrupt, StorageError)):
            restore(settings, archive, no_passphrase)
    assert has_nothing(settings)
    restore(settings, archive, no_passphrase)
    with Gallery.open(settings, engine=enrolled.engine) as gallery:
        assert len(existing_crops(gallery, [photo.filepath for photo in gallery.photos()])) == 4


def test_files_of_a_restore_that_was_killed_after_its_commit_are_found(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_settle", lambda *_: None)
        restore(settings, archive, no_passphrase)
    with Gallery.open(settings, engine=enrolled.engine) as gallery:
        assert len(existing_crops(gallery, [photo.filepath for photo in gallery.photos()])) == 4
