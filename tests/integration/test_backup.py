"""A gallery is backed up, deleted and restored, and answers as before."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgface.database.embedded.server import binaries
from pgface.database.pool import connected, initialise
from pgface.errors import (
    EventsDeletedError,
    GalleryError,
    GalleryNotEmptyError,
    ModelMismatchError,
    PostgresProgramError,
    SchemaMissingError,
    StorageError,
)
from pgface.gallery import Gallery
from pgface.operations.backup import back_up, verify
from pgface.operations.backup.archive import ArchiveWriter
from pgface.operations.backup.restore import restore
from pgface.operations.backup.tables import LOCKS, MIGRATIONS, NOT_KEPT, TABLES
from pgface.settings import Settings
from support.backups import answers, drop_schema, elsewhere, existing_crops, members, no_passphrase
from support.galleries import axis, in_both_schemas, one_value, rows
from support.photos import Photos
from support.sentences import backup as says

pytestmark = pytest.mark.slow


@in_both_schemas
@pytest.mark.parametrize("where", ["the same place", "another machine"])
def test_a_restored_gallery_is_identical_to_the_bit(
    enrolled: Gallery, photos: Photos, archive: Path, tmp_path: Path, where: str
) -> None:
    before = answers(enrolled, photos)
    cursor = enrolled.events(after="end").next_cursor
    report = back_up(enrolled.settings, archive)
    assert report.manifest.tables["face_embeddings"] == len(before[3]) == 4
    for store in enrolled.files.stores():
        store.delete_all()
    enrolled.close()
    drop_schema(enrolled.settings)
    shutil.rmtree(enrolled.settings.photos_dir, ignore_errors=True)
    settings = enrolled.settings if where == "the same place" else elsewhere(enrolled.settings, tmp_path / "other")
    if where == "another machine":
        settings.photos_dir.mkdir(parents=True)
        (settings.photos_dir / "folder-id").write_text("f" * 32)
    restored = restore(settings, archive, no_passphrase)
    assert (restored.photo_files, restored.gallery_id) == (4, report.manifest.gallery.id)
    with Gallery.open(settings, engine=enrolled.engine) as gallery:
        assert answers(gallery, photos) == before
        assert gallery.status().index == "hnsw"
        with pytest.raises(EventsDeletedError):  # the restored gallery begins a new series of events
            gallery.events(after=cursor)
        assert [event.kind for event in gallery.events()] == ["gallery_created"]
        # New ids follow the old ones, and deleting a person deletes the restored files.
        assert gallery.add_user("new@example.org").id == 3
        paths = [photo.filepath for photo in gallery.photos()]
        assert existing_crops(gallery, paths) == paths
        for user in gallery.users():
            gallery.erase_user(user.id)
        assert existing_crops(gallery, paths) == []
    assert not list(settings.photos_dir.rglob("*.jpg"))


def test_the_manifest_describes_the_archive(enrolled: Gallery, archive: Path) -> None:
    report = back_up(enrolled.settings, archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    manifest = report.manifest
    assert manifest.schema_name == enrolled.settings.schema_name
    assert manifest.gallery.identity == enrolled.config.identity
    assert manifest.gallery.id == enrolled.config.id
    assert manifest.photos is not None
    assert (manifest.photos.files, manifest.photos.missing, manifest.photos.elsewhere) == (4, 0, 0)
    assert {name: n for name, n in manifest.tables.items() if n} == {
        "users": 2,
        "photos": 4,
        "auth_tokens": 2,
        "face_embeddings": 4,
        "gallery": 1,
        "stale_templates": 4,
        "gallery_search": 1,
        "confidence_anchors": manifest.tables["confidence_anchors"],
    }
    assert manifest.sequences["photos.id"] == 4
    assert verify(enrolled.settings, archive, no_passphrase).manifest == manifest
    with pytest.raises(StorageError, match=says.FILE_EXISTS.pattern(file=archive)):
        back_up(enrolled.settings, archive)
    assert back_up(enrolled.settings, archive, replace=True).size == archive.stat().st_size


def test_every_table_of_a_new_gallery_is_known(settings: Settings) -> None:
    initialise(settings)
    with connected(settings) as connection:
        made = rows(
            connection,
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
            settings.schema_name,
        )
    # A login in progress, and what `pgface reembed` has embedded so far, are not in an archive.
    assert {name for (name,) in made} == {*TABLES, *NOT_KEPT, MIGRATIONS, LOCKS}


def test_pg_restore_alone_restores_the_dump(
    enrolled: Gallery, photos: Photos, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    before = answers(enrolled, photos)
    back_up(enrolled.settings, archive)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    dump = tmp_path / "dump"
    dump.write_bytes(b"".join(part for name, part in members(archive) if name.startswith("database.dump.")))
    program = binaries(18) / "pg_restore"
    subprocess.run([program, "--exit-on-error", "--single-transaction", "--dbname", empty_database, dump], check=True)
    restored = elsewhere(enrolled.settings, enrolled.settings.data_dir, database_url=empty_database)
    with Gallery.open(restored, engine=enrolled.engine) as gallery:
        assert answers(gallery, photos) == before
        with gallery.database.transaction() as connection:
            connection.execute("DELETE FROM stale_templates")
            connection.execute("UPDATE face_embeddings SET embedding = %s WHERE id = 1", (axis(3),))
            assert rows(connection, "SELECT user_id FROM stale_templates") == [(1,), (1,)]


def test_a_backup_that_fails_leaves_no_file(enrolled: Gallery, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArchiveWriter, "finish", full)
    unwritable = says.FILE_CANNOT_BE_WRITTEN.pattern(file=archive, reason="No space left on device")
    with pytest.raises(StorageError, match=unwritable):
        back_up(enrolled.settings, archive)
    assert not list(archive.parent.glob("backups.tar*"))


def test_the_error_of_pg_dump_is_shown(enrolled: Gallery, archive: Path, postgres: str) -> None:
    role = f"backup_{os.getpid()}"
    schema = sql.Identifier(enrolled.settings.schema_name)
    with enrolled.database.autocommit() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, sql.Identifier(role)))
        grant = "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}"
        connection.execute(sql.SQL(grant).format(schema, sql.Identifier(role)))
        locks = "GRANT UPDATE ON {}.gallery_locks TO {}"  # because a backup locks a row of it
        connection.execute(sql.SQL(locks).format(schema, sql.Identifier(role)))
        connection.execute(sql.SQL("CREATE TABLE secrets AS SELECT 1"))
    url = make_conninfo(enrolled.url, user=role)
    try:
        refused = rf"^{says.PG_DUMP_COULD_NOT_READ.pattern()}.*secrets[^\n]*\.$"
        with pytest.raises(PostgresProgramError, match=refused):
            back_up(elsewhere(enrolled.settings, enrolled.settings.data_dir, database_url=url), archive)
        assert not list(archive.parent.glob("backups.tar*"))
    finally:
        with psycopg.connect(enrolled.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_missing_files_are_recorded_and_links_refused(enrolled: Gallery, archive: Path, tmp_path: Path) -> None:
    lost, outside, linked, kept = enrolled.photos()
    enrolled.photo_file(lost).unlink()
    secret = tmp_path / "secret.txt"
    secret.write_text("not a photo")
    with enrolled.database.transaction() as connection:
        path = os.path.relpath(secret, enrolled.settings.photos_dir)
        connection.execute("UPDATE photos SET filepath = %s WHERE id = %s", (path, outside.id))
    enrolled.photo_file(linked).unlink()
    enrolled.photo_file(linked).symlink_to(secret)
    with pytest.raises(StorageError, match=says.PHOTO_FILE_COULD_NOT_BE_READ.pattern()):
        back_up(enrolled.settings, archive)
    enrolled.photo_file(linked).unlink()
    report = back_up(enrolled.settings, archive)
    assert report.missing == tuple(sorted([lost.filepath, linked.filepath]))
    assert report.manifest.photos is not None
    assert (report.manifest.photos.files, report.manifest.photos.missing, report.manifest.photos.elsewhere) == (1, 2, 1)
    with tarfile.open(archive) as tar:
        assert [name for name in tar.getnames() if name.startswith("photos/")] == [f"photos/{kept.filepath}"]
        missing = tar.extractfile("missing-photos.txt")
        assert missing is not None
        assert tuple(missing.read().decode().split()) == report.missing
    new = elsewhere(enrolled.settings, enrolled.settings.data_dir, PGFACE_SCHEMA="with gaps")
    assert restore(new, archive, no_passphrase).photo_files == 1


def test_embeddings_only_are_restored_to_their_people(enrolled: Gallery, photos: Photos, archive: Path) -> None:
    before = answers(enrolled, photos)
    report = back_up(enrolled.settings, archive, embeddings_only=True)
    assert report.manifest.tables == {"face_embeddings": 4}
    with pytest.raises(GalleryNotEmptyError, match=says.GALLERY_IS_NOT_EMPTY.pattern(table="face_embeddings")):
        restore(enrolled.settings, archive, no_passphrase)
    with enrolled.database.transaction() as connection:
        connection.execute("DELETE FROM face_embeddings")
    restore(enrolled.settings, archive, no_passphrase)
    assert answers(enrolled, photos)[0] == before[0]
    assert one_value(enrolled, "SELECT count(DISTINCT user_id) FROM stale_templates") == 2


def test_embeddings_only_need_their_people_and_their_model(enrolled: Gallery, archive: Path) -> None:
    back_up(enrolled.settings, archive, embeddings_only=True)
    with enrolled.database.transaction() as connection:
        connection.execute("DELETE FROM users WHERE id = 1")
        connection.execute("DELETE FROM face_embeddings")
    with pytest.raises(GalleryError, match=says.USERS_ARE_NOT_ALL_THERE.pattern()):
        restore(enrolled.settings, archive, no_passphrase)
    with enrolled.database.transaction() as connection:
        connection.execute("UPDATE gallery SET model_name = 'another'")
    with pytest.raises(ModelMismatchError, match=says.EMBEDDINGS_CANNOT_BE_COMPARED.pattern()):
        restore(enrolled.settings, archive, no_passphrase)
    with connected(enrolled.settings) as connection, pytest.raises(SchemaMissingError):
        restore(elsewhere(enrolled.settings, enrolled.settings.data_dir, PGFACE_SCHEMA="none"), archive, no_passphrase)
    assert connection.closed
