"""An archive is restored into other servers, versions, schemas and folders."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgface.database.pool import Database, initialise
from pgface.errors import (
    ArchiveError,
    GalleryNotEmptyError,
    SchemaTooNewError,
)
from pgface.gallery import Gallery
from pgface.operations.backup import back_up, create
from pgface.operations.backup.restore import restore
from pgface.operations.backup.tables import TABLES
from pgface.search.state import SearchMethod
from pgface.settings import Settings
from support.backups import (
    answers,
    drop_schema,
    elsewhere,
    embedding_answers,
    existing_crops,
    fill,
    has_nothing,
    no_passphrase,
    rewrite_manifest,
)
from support.databases import create_database, drop_database
from support.galleries import ODD_SCHEMA, one_value, rows
from support.migrations import later_migration
from support.photos import Photos
from support.sentences import backup as says

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("source", "target"), [("postgres16", "postgres18"), ("postgres18", "postgres16")])
def test_another_version_and_another_schema(
    request: pytest.FixtureRequest, archive: Path, tmp_path: Path, source: str, target: str
) -> None:
    servers = [request.getfixturevalue(name) for name in (source, target)]
    urls = [create_database(server) for server in servers]
    try:
        old = Settings.model_validate({"database_url": urls[0], "data_dir": tmp_path / "old"})
        new = Settings.model_validate(
            {"database_url": urls[1], "PGFACE_SCHEMA": ODD_SCHEMA, "data_dir": tmp_path / "new"}
        )
        initialise(old)
        fill(old, people=50)
        before = embedding_answers(old)
        assert back_up(old, archive).manifest.pg_dump.startswith(source.removeprefix("postgres"))
        restore(new, archive, no_passphrase)
        assert embedding_answers(new) == before
    finally:
        for server, url in zip(servers, urls, strict=True):
            drop_database(server, url)


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_a_large_gallery_is_searched_as_before(
    settings: Settings, archive: Path, tmp_path: Path, empty_database: str, method: SearchMethod
) -> None:
    initialise(settings)
    fill(settings, people=400)
    with Gallery.open(settings) as gallery:
        before = gallery.fit_search(method)
        with gallery.database.transaction() as connection:
            connection.execute(
                "CREATE INDEX idx_embeddings_vector ON face_embeddings USING ivfflat (embedding vector_ip_ops) "
                "WITH (lists = 7)"
            )
            templates = rows(connection, "SELECT id, template::text FROM user_templates ORDER BY id")
    before_backup = embedding_answers(settings)
    back_up(settings, archive)
    new = elsewhere(settings, tmp_path / "new", database_url=empty_database)
    restore(new, archive, no_passphrase)
    assert embedding_answers(new) == before_backup
    with Gallery.open(new) as gallery, gallery.database.transaction() as connection:
        state = gallery.search_state()
        assert (state.choice, state.method, state.suspended, state.due) == (method, before.method, False, False)
        assert rows(connection, "SELECT id, template::text FROM user_templates ORDER BY id") == templates
        ((definition,),) = rows(connection, "SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_embeddings_vector'")
    assert definition.endswith("USING ivfflat (embedding vector_ip_ops) WITH (lists='7')")


def test_the_owner_of_a_database_restores_without_being_superuser(
    settings: Settings, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    initialise(settings)
    fill(settings, people=20)
    before = embedding_answers(settings)
    back_up(settings, archive)
    role = f"owner_{os.getpid()}"
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(role)))
    url = make_conninfo(empty_database, user=role)
    try:
        new = elsewhere(settings, tmp_path / "new", database_url=url)
        restore(new, archive, no_passphrase)
        assert embedding_answers(new) == before
    finally:
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_copy_beside_the_gallery_has_its_own_files(enrolled: Gallery, photos: Photos, archive: Path) -> None:
    before = answers(enrolled, photos)
    back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, enrolled.settings.data_dir, PGFACE_SCHEMA="a copy")
    report = restore(settings, archive, no_passphrase)
    assert report.beside == enrolled.settings.schema_name
    with Gallery.open(settings, engine=enrolled.engine) as copy:
        assert copy.config.id != enrolled.config.id
        assert [copy.crop(photo) for photo in copy.photos()] == list(before[3].values())
        paths = [photo.filepath for photo in copy.photos()]
        for user in copy.users():
            copy.erase_user(user.id)
        assert existing_crops(copy, paths) == []
    assert answers(enrolled, photos) == before


def test_copy_gives_a_new_id(enrolled: Gallery, archive: Path, tmp_path: Path, empty_database: str) -> None:
    back_up(enrolled.settings, archive)
    new = elsewhere(enrolled.settings, tmp_path / "new", database_url=empty_database)
    assert restore(new, archive, no_passphrase, copy=True).gallery_id != enrolled.config.id
    with Gallery.open(new, engine=enrolled.engine) as gallery:
        assert all(photo.filepath.startswith(f"{gallery.config.id}/") for photo in gallery.photos())


def test_existing_photo_files_are_shared_only_with_in_place(
    enrolled: Gallery, photos: Photos, archive: Path, empty_database: str
) -> None:
    back_up(enrolled.settings, archive)
    drill = elsewhere(enrolled.settings, enrolled.settings.data_dir, database_url=empty_database)
    with pytest.raises(GalleryNotEmptyError, match=says.PHOTO_FILES_ARE_THERE.pattern()):
        restore(drill, archive, no_passphrase)
    restore(drill, archive, no_passphrase, copy=True)
    with Gallery.open(drill) as copy:
        for user in copy.users():
            copy.erase_user(user.id)
    assert len(existing_crops(enrolled, [photo.filepath for photo in enrolled.photos()])) == 4
    drop_schema(drill)
    found = answers(enrolled, photos)
    restore(drill, archive, no_passphrase, in_place=True)
    with Gallery.open(drill) as same:
        assert answers(same, photos) == found


def test_an_archive_of_a_newer_pgface_is_refused(enrolled: Gallery, archive: Path, empty_database: str) -> None:
    back_up(enrolled.settings, archive)
    rewrite_manifest(archive, schema_version=1_000)
    settings = elsewhere(enrolled.settings, enrolled.settings.data_dir, database_url=empty_database)
    with pytest.raises(SchemaTooNewError, match=says.SCHEMA_TOO_NEW.pattern(version=1000)):
        restore(settings, archive, no_passphrase)


def test_an_archive_of_an_older_schema_is_restored(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = ("login_attempts", "audit_log", "api_keys", "used_frames", "service_secrets")
    new = (*accounts, "administrators", "idempotent_requests", "access_keys", "compreface_keys")
    older = tuple(table for table in TABLES if table not in new)
    with enrolled.database.transaction() as connection:
        connection.execute(f"DROP TABLE {', '.join(new)}")
    with monkeypatch.context() as patch:
        patch.setattr(create, "TABLES", older)
        back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    with later_migration():
        report = restore(settings, archive, no_passphrase)
        with Gallery.open(settings) as restored:
            found = [user.email for user in restored.users()]
            assert one_value(restored, "SELECT count(*) FROM audit_log") == 0
    assert set(report.verified.manifest.tables) == set(older)
    assert found == [user.email for user in enrolled.users()]


def test_later_migrations_change_the_rows_of_an_older_schema(
    settings: Settings, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    initialise(settings)
    fill(settings, people=5)
    with Database.open(settings) as database, database.transaction() as connection:
        connection.execute("DELETE FROM stale_templates")
    back_up(settings, archive)
    new = elsewhere(settings, tmp_path / "new", database_url=empty_database)
    with later_migration("INSERT INTO stale_templates (user_id) SELECT DISTINCT user_id FROM face_embeddings;"):
        restore(new, archive, no_passphrase)
        with Gallery.open(new) as gallery:
            assert one_value(gallery, "SELECT count(*) FROM stale_templates") == 5


ODD_NAME = '"Their ""department"", (of all)"'


ODD_COLUMN = f"ALTER TABLE users ADD COLUMN {ODD_NAME} TEXT"


ODD_TEXT = "one\n\ttwo\\.\n\\.\nthree"


def test_other_tables_are_named_and_other_columns_must_exist(
    enrolled: Gallery, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    with enrolled.database.transaction() as connection:
        connection.execute("CREATE TABLE attendance (user_id INTEGER REFERENCES users(id))")
        connection.execute(ODD_COLUMN)
        connection.execute(f"UPDATE users SET {ODD_NAME} = %s", (ODD_TEXT,))
    assert back_up(enrolled.settings, archive).manifest.other_tables == ("attendance",)
    new = elsewhere(enrolled.settings, tmp_path / "new", database_url=empty_database)
    unknown = says.COLUMN_IS_NOT_THERE.pattern(table="users", column='Their "department", (of all)')
    with pytest.raises(ArchiveError, match=unknown):
        restore(new, archive, no_passphrase)
    assert has_nothing(new)
    initialise(new)
    with Database.open(new) as database, database.transaction() as connection:
        connection.execute(ODD_COLUMN)
    restore(new, archive, no_passphrase)
    with Gallery.open(new) as gallery:
        assert one_value(gallery, f"SELECT DISTINCT {ODD_NAME} FROM users") == ODD_TEXT
