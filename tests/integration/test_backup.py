"""A gallery is backed up, erased and restored, and answers as before."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgface.database.embedded.server import binaries
from pgface.database.migrate import migrate
from pgface.database.pool import Database, connected, initialise
from pgface.database.sql import queries
from pgface.errors import (
    ArchiveError,
    GalleryError,
    GalleryNotEmptyError,
    ModelMismatchError,
    ModelNotInstalledError,
    PostgresProgramError,
    SchemaMissingError,
    SchemaTooNewError,
    StorageError,
)
from pgface.gallery import Gallery
from pgface.gallery.bulk import copy_embeddings
from pgface.gallery.photos import RestoredFiles
from pgface.operations.backup import Manifest, back_up, create, verify
from pgface.operations.backup import restore as restoring
from pgface.operations.backup.archive import ArchiveWriter, Visitor, read_archive, writing
from pgface.operations.backup.restore import restore
from pgface.operations.backup.tables import LOCKS, MIGRATIONS, TABLES
from pgface.search import SearchMethod
from pgface.settings import Settings
from support.commands import Run, environment_of, runner, without_settings
from support.databases import create_database, drop_database
from support.embedded_server import eventually
from support.galleries import ODD_SCHEMA, axis, contents, in_both_schemas, one_value, rows
from support.migrations import later_migration
from support.photos import Photos
from support.sentences import backup as says
from support.sentences import doctor as says_of_doctor

pytestmark = pytest.mark.slow

ENROLLED = ("Ariel_Sharon", "Colin_Powell")
PASSPHRASE = "correct horse"


def nobody_asked() -> str:
    raise AssertionError("the archive is not encrypted")


def elsewhere(settings: Settings, folder: Path, **changes: Any) -> Settings:
    """Settings of another machine, or another schema."""
    given = {
        "database_url": settings.database_url,
        "PGFACE_SCHEMA": settings.schema_name,
        "data_dir": folder,
        "search_latency_target": settings.search_latency_target,
    }
    return Settings.model_validate(given | changes)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "backups.tar"


@pytest.fixture
def enrolled(gallery: Gallery, photos: Photos) -> Iterator[Gallery]:
    """Two people with two photos each, a token, and thresholds of their own."""
    for person in ENROLLED:
        for number in (1, 2):
            gallery.enroll(photos(person, number), f"{person}@example.org", name=person, face="largest")
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE gallery SET verify_threshold = 0.31, identify_threshold = 0.41")
        connection.execute("INSERT INTO auth_tokens (user_id, token, confidence) SELECT id, email, 0.5 FROM users")
    with Gallery.open(gallery.settings, engine=gallery.engine) as opened:  # knows the thresholds
        gallery.close()
        yield opened


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """Where a gallery is restored: nothing is in it."""
    url = create_database(postgres)
    yield url
    drop_database(postgres, url)


def drop_schema(settings: Settings) -> None:
    name = sql.Identifier(settings.schema_name)
    with connected(settings) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(name))
        if settings.schema_name == "public":
            connection.execute("CREATE SCHEMA public")


def answers(gallery: Gallery, photos: Photos) -> Any:
    """What is said of photos that were not enrolled, with every bit of the similarities."""
    with gallery.database.dedicated_connection() as connection:
        connection.execute("SET extra_float_digits = 3")
        said: list[Any] = []
        for number in (3, 4):
            for person in (*ENROLLED, "Tony_Blair"):
                faces = gallery.identify(photos(person, number), threshold=-1, top=2).faces
                said.append([(m.user_id, m.embedding_id, m.similarity.hex()) for f in faces for m in f.matches])
            said.append(gallery.verify(photos(ENROLLED[0], number), f"{ENROLLED[0]}@example.org", face="largest"))
        tables = [rows(connection, f"SELECT * FROM {table} ORDER BY 1") for table in TABLES if table != "photos"]
        photo_rows = rows(connection, "SELECT id, user_id, filename, width, created_at, content_sha256 FROM photos")
    files = {p.id: gallery.photo_file(p).read_bytes() for p in gallery.photos()}
    return said, repr(tables), sorted(photo_rows), files


@in_both_schemas
@pytest.mark.parametrize("where", ["the same place", "another machine"])
def test_everything_erased_comes_back_to_the_bit(
    enrolled: Gallery, photos: Photos, archive: Path, tmp_path: Path, where: str
) -> None:
    before = answers(enrolled, photos)
    report = back_up(enrolled.settings, archive)
    assert report.manifest.tables["face_embeddings"] == len(before[3]) == 4
    enrolled.close()
    drop_schema(enrolled.settings)
    shutil.rmtree(enrolled.settings.photos_dir)
    settings = enrolled.settings if where == "the same place" else elsewhere(enrolled.settings, tmp_path / "other")
    if where == "another machine":
        settings.photos_dir.mkdir(parents=True)
        (settings.photos_dir / "folder-id").write_text("f" * 32)
    restored = restore(settings, archive, nobody_asked)
    assert (restored.photo_files, restored.gallery_id) == (4, report.manifest.gallery.id)
    with Gallery.open(settings, engine=enrolled.engine) as gallery:
        assert answers(gallery, photos) == before
        assert gallery.status().index == "hnsw"
        # Ids go on, and an erased person's files go, wherever they were restored.
        assert gallery.add_user("new@example.org").id == 3
        files = [gallery.photo_file(photo) for photo in gallery.photos()]
        for user in gallery.users():
            gallery.erase_user(user.id)
        assert not any(file.exists() for file in files)
    assert not list(settings.photos_dir.rglob("*.jpg"))


def test_the_archive_says_what_is_in_it(enrolled: Gallery, archive: Path) -> None:
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
    assert verify(enrolled.settings, archive, nobody_asked).manifest == manifest
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
    # A login by face is over before a restore.
    assert {name for (name,) in made} == {*TABLES, "login_challenges", MIGRATIONS, LOCKS}


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


def members(archive: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar.getmembers()]  # type: ignore[union-attr]


# What is refused


DAMAGE = "|".join(
    sentence.pattern() for sentence in (says.OTHER_CHECKSUM, says.ENDS_TOO_EARLY, says.MANIFEST_CANNOT_BE_READ)
)


def damaged(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :]


def test_a_damaged_archive_is_refused_before_anything_is_touched(
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
                check(settings, archive, nobody_asked)
    assert not settings.data_dir.exists()
    with pytest.raises(SchemaMissingError), Database.open(settings):
        pass


def test_an_archive_that_changes_while_it_is_restored_is_not_restored(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(enrolled.settings, archive)
    with enrolled.database.transaction() as connection:
        connection.execute("UPDATE users SET name = 'Somebody'")
    other = tmp_path / "other.tar"
    back_up(enrolled.settings, other)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)

    def exchange(connection: psycopg.Connection, schema_name: str) -> None:
        shutil.copy(other, archive)
        migrate(connection, schema_name)

    monkeypatch.setattr(restoring, "migrate", exchange)
    with pytest.raises(ArchiveError, match=says.CHANGED_WHILE_RESTORED.pattern()):
        restore(settings, archive, nobody_asked)
    assert nothing_there(settings)


def nothing_there(settings: Settings) -> bool:
    """Neither a gallery nor a photo file."""
    with pytest.raises(SchemaMissingError), Database.open(settings):
        pass
    return not [path for path in settings.data_dir.rglob("*") if path.is_file() and path.name != "folder-id"]


def test_a_gallery_with_people_is_left_alone(enrolled: Gallery, archive: Path) -> None:
    back_up(enrolled.settings, archive)
    before = contents(enrolled)
    with pytest.raises(GalleryNotEmptyError, match=says.GALLERY_IS_NOT_EMPTY.pattern(table="users")):
        restore(enrolled.settings, archive, nobody_asked)
    assert contents(enrolled) == before


def test_an_empty_gallery_is_filled(enrolled: Gallery, photos: Photos, archive: Path) -> None:
    before = answers(enrolled, photos)
    back_up(enrolled.settings, archive)
    for user in enrolled.users():
        enrolled.erase_user(user.id)
    enrolled.close()
    restore(enrolled.settings, archive, nobody_asked)
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
def test_a_restore_that_is_broken_off_leaves_nothing(
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
    where: Any = RestoredFiles if step == "sync" else restoring._Gallery
    original = getattr(where, step)

    def broken(*arguments: Any) -> None:
        original(*arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, step, broken)
        with pytest.raises((KeyboardInterrupt, StorageError)):
            restore(settings, archive, nobody_asked)
    assert nothing_there(settings)
    restore(settings, archive, nobody_asked)
    with Gallery.open(settings, engine=enrolled.engine) as gallery:
        assert [gallery.photo_file(photo).is_file() for photo in gallery.photos()] == [True] * 4


def test_files_of_a_restore_that_was_killed_after_its_commit_are_found(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_settle", lambda *_: None)
        restore(settings, archive, nobody_asked)
    with Gallery.open(settings, engine=enrolled.engine) as gallery:
        assert [gallery.photo_file(photo).is_file() for photo in gallery.photos()] == [True] * 4


def test_a_backup_that_fails_leaves_no_file(enrolled: Gallery, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArchiveWriter, "finish", full)
    unwritable = says.FILE_CANNOT_BE_WRITTEN.pattern(file=archive, reason="No space left on device")
    with pytest.raises(StorageError, match=unwritable):
        back_up(enrolled.settings, archive)
    assert not list(archive.parent.glob("backups.tar*"))


def test_pg_dump_s_own_sentence_is_told(enrolled: Gallery, archive: Path, postgres: str) -> None:
    role = f"backup_{os.getpid()}"
    schema = sql.Identifier(enrolled.settings.schema_name)
    with enrolled.database.autocommit() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, sql.Identifier(role)))
        grant = "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}"
        connection.execute(sql.SQL(grant).format(schema, sql.Identifier(role)))
        locks = "GRANT UPDATE ON {}.gallery_locks TO {}"  # which a backup holds
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


def test_files_of_a_gallery_elsewhere_are_not_shared_unasked(
    enrolled: Gallery, photos: Photos, archive: Path, empty_database: str
) -> None:
    back_up(enrolled.settings, archive)
    drill = elsewhere(enrolled.settings, enrolled.settings.data_dir, database_url=empty_database)
    with pytest.raises(GalleryNotEmptyError, match=says.PHOTO_FILES_ARE_THERE.pattern()):
        restore(drill, archive, nobody_asked)
    restore(drill, archive, nobody_asked, copy=True)
    with Gallery.open(drill) as copy:
        for user in copy.users():
            copy.erase_user(user.id)
    assert all(enrolled.photo_file(photo).exists() for photo in enrolled.photos())
    drop_schema(drill)
    found = answers(enrolled, photos)
    restore(drill, archive, nobody_asked, in_place=True)
    with Gallery.open(drill) as same:
        assert answers(same, photos) == found


def test_an_archive_of_a_newer_pgface_is_refused(enrolled: Gallery, archive: Path, empty_database: str) -> None:
    back_up(enrolled.settings, archive)
    rewritten(archive, schema_version=1_000)
    settings = elsewhere(enrolled.settings, enrolled.settings.data_dir, database_url=empty_database)
    with pytest.raises(SchemaTooNewError, match=says.SCHEMA_TOO_NEW.pattern(version=1000)):
        restore(settings, archive, nobody_asked)


class _Rewriting(Visitor):
    """Writes what it is shown into another archive."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self.archive = archive

    def dump(self, blocks: Iterator[bytes]) -> None:
        self.archive.add_dump(blocks)

    def photo(self, filepath: str, blocks: Iterator[bytes]) -> None:
        data = b"".join(blocks)
        self.archive.add(f"photos/{filepath}", len(data), io.BytesIO(data))


def test_an_archive_of_an_older_schema_is_restored(
    enrolled: Gallery, archive: Path, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = ("login_attempts", "audit_log", "api_keys", "used_frames", "service_secrets")
    new = (*accounts, "administrators", "idempotent_requests")
    older = tuple(table for table in TABLES if table not in new)
    with enrolled.database.transaction() as connection:
        connection.execute(f"DROP TABLE {', '.join(new)}")
    with monkeypatch.context() as patch:
        patch.setattr(create, "TABLES", older)
        back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    with later_migration():
        report = restore(settings, archive, nobody_asked)
        with Gallery.open(settings) as restored:
            found = [user.email for user in restored.users()]
            assert one_value(restored, "SELECT count(*) FROM audit_log") == 0
    assert set(report.verified.manifest.tables) == set(older)
    assert found == [user.email for user in enrolled.users()]


def rewritten(file: Path, **changes: Any) -> None:
    """Another manifest in an archive that is whole."""
    new = file.with_suffix(".new")
    with new.open("wb") as stream, writing(stream, 0, None) as archive:
        found = read_archive(file, nobody_asked, _Rewriting(archive)).manifest
        archive.finish(Manifest.model_validate(found.model_dump() | changes))
    new.replace(file)


# Other places


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
        before = bare_answers(old)
        assert back_up(old, archive).manifest.pg_dump.startswith(source.removeprefix("postgres"))
        restore(new, archive, nobody_asked)
        assert bare_answers(new) == before
    finally:
        for server, url in zip(servers, urls, strict=True):
            drop_database(server, url)


def fill(settings: Settings, *, people: int, photos: int = 3) -> None:
    """People with random embeddings, those of one person alike."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((people, 512))
    noise = random.standard_normal((people * photos, 512))
    with Database.open(settings) as database, database.dedicated_connection() as connection:
        connection.execute(
            "INSERT INTO users (name, email, password) SELECT g, g || '@x.org', '!' FROM generate_series(1, %s) g",
            (people,),
        )
        owners = np.repeat(np.arange(1, people + 1), photos)
        connection.execute("DROP INDEX idx_embeddings_vector")
        copy_embeddings(connection, owners, centres[owners - 1] + 0.8 * noise)
        connection.execute("UPDATE gallery SET verify_threshold = 0.3, identify_threshold = 0.4")


def bare_answers(settings: Settings, probes: int = 40) -> list[Any]:
    random = np.random.default_rng(6)
    with Gallery.open(settings) as gallery:
        with gallery.database.transaction() as connection:
            sample = rows(connection, "SELECT embedding::float4[] FROM face_embeddings ORDER BY id LIMIT %s", probes)
        found = []
        for (embedding,) in sample:
            probe = np.array(embedding) + 0.02 * random.standard_normal(512)
            found.append([(m.user_id, m.embedding_id, m.similarity.hex()) for m in gallery.identify_embedding(probe)])
        everything = one_value(gallery, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM face_embeddings e")
    return [found, everything]


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
    said = bare_answers(settings)
    back_up(settings, archive)
    new = elsewhere(settings, tmp_path / "new", database_url=empty_database)
    restore(new, archive, nobody_asked)
    assert bare_answers(new) == said
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
    before = bare_answers(settings)
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
        restore(new, archive, nobody_asked)
        assert bare_answers(new) == before
    finally:
        with psycopg.connect(empty_database, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_copy_beside_the_gallery_has_files_of_its_own(enrolled: Gallery, photos: Photos, archive: Path) -> None:
    before = answers(enrolled, photos)
    back_up(enrolled.settings, archive)
    settings = elsewhere(enrolled.settings, enrolled.settings.data_dir, PGFACE_SCHEMA="a copy")
    report = restore(settings, archive, nobody_asked)
    assert report.beside == enrolled.settings.schema_name
    with Gallery.open(settings, engine=enrolled.engine) as copy:
        assert copy.config.id != enrolled.config.id
        files = [copy.photo_file(photo) for photo in copy.photos()]
        assert [file.read_bytes() for file in files] == list(before[3].values())
        for user in copy.users():
            copy.erase_user(user.id)
        assert not any(file.exists() for file in files)
    assert answers(enrolled, photos) == before


def test_a_copy_can_be_asked_for(enrolled: Gallery, archive: Path, tmp_path: Path, empty_database: str) -> None:
    back_up(enrolled.settings, archive)
    new = elsewhere(enrolled.settings, tmp_path / "new", database_url=empty_database)
    assert restore(new, archive, nobody_asked, copy=True).gallery_id != enrolled.config.id
    with Gallery.open(new, engine=enrolled.engine) as gallery:
        assert all(photo.filepath.startswith(f"{gallery.config.id}/") for photo in gallery.photos())


def test_rows_of_an_older_schema_get_what_later_migrations_do(
    settings: Settings, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    initialise(settings)
    fill(settings, people=5)
    with Database.open(settings) as database, database.transaction() as connection:
        connection.execute("DELETE FROM stale_templates")
    back_up(settings, archive)
    new = elsewhere(settings, tmp_path / "new", database_url=empty_database)
    with later_migration("INSERT INTO stale_templates (user_id) SELECT DISTINCT user_id FROM face_embeddings;"):
        restore(new, archive, nobody_asked)
        with Gallery.open(new) as gallery:
            assert one_value(gallery, "SELECT count(*) FROM stale_templates") == 5


# What is not pgface's


ODD_NAME = '"Their ""department"", (of all)"'
ODD_COLUMN = f"ALTER TABLE users ADD COLUMN {ODD_NAME} TEXT"
ODD_TEXT = "one\n\ttwo\\.\n\\.\nthree"


def test_other_tables_are_named_and_other_columns_are_asked_for(
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
        restore(new, archive, nobody_asked)
    assert nothing_there(new)
    initialise(new)
    with Database.open(new) as database, database.transaction() as connection:
        connection.execute(ODD_COLUMN)
    restore(new, archive, nobody_asked)
    with Gallery.open(new) as gallery:
        assert one_value(gallery, f"SELECT DISTINCT {ODD_NAME} FROM users") == ODD_TEXT


def test_missing_files_are_recorded_and_others_not_followed(enrolled: Gallery, archive: Path, tmp_path: Path) -> None:
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
    assert restore(new, archive, nobody_asked).photo_files == 1


# Embeddings alone


def test_embeddings_alone_go_back_to_their_people(enrolled: Gallery, photos: Photos, archive: Path) -> None:
    before = answers(enrolled, photos)
    report = back_up(enrolled.settings, archive, embeddings_only=True)
    assert report.manifest.tables == {"face_embeddings": 4}
    with pytest.raises(GalleryNotEmptyError, match=says.GALLERY_IS_NOT_EMPTY.pattern(table="face_embeddings")):
        restore(enrolled.settings, archive, nobody_asked)
    with enrolled.database.transaction() as connection:
        connection.execute("DELETE FROM face_embeddings")
    restore(enrolled.settings, archive, nobody_asked)
    assert answers(enrolled, photos)[0] == before[0]
    assert one_value(enrolled, "SELECT count(DISTINCT user_id) FROM stale_templates") == 2


def test_embeddings_alone_need_their_people_and_their_model(enrolled: Gallery, archive: Path) -> None:
    back_up(enrolled.settings, archive, embeddings_only=True)
    with enrolled.database.transaction() as connection:
        connection.execute("DELETE FROM users WHERE id = 1")
        connection.execute("DELETE FROM face_embeddings")
    with pytest.raises(GalleryError, match=says.USERS_ARE_NOT_ALL_THERE.pattern()):
        restore(enrolled.settings, archive, nobody_asked)
    with enrolled.database.transaction() as connection:
        connection.execute("UPDATE gallery SET model_name = 'another'")
    with pytest.raises(ModelMismatchError, match=says.EMBEDDINGS_CANNOT_BE_COMPARED.pattern()):
        restore(enrolled.settings, archive, nobody_asked)
    with connected(enrolled.settings) as connection, pytest.raises(SchemaMissingError):
        restore(elsewhere(enrolled.settings, enrolled.settings.data_dir, PGFACE_SCHEMA="none"), archive, nobody_asked)
    assert connection.closed


# While others go on

BUSY = """
import sys
from itertools import count
from pgface.gallery import Gallery

with Gallery.open() as gallery:
    for number in count():
        user = f"{number}@example.org"
        gallery.enroll(sys.argv[1], user, face="largest", allow_other_user=True)
        print("enrolled", flush=True)
        if number % 3:
            gallery.erase_user(user)
"""


def test_rows_and_files_belong_together_while_others_enroll_and_erase(
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
            enrolled.settings, tmp_path / f"new {number}", database_url=empty_database, PGFACE_SCHEMA=f"new {number}"
        )
        report = restore(settings, archive, nobody_asked)
        with Gallery.open(settings) as gallery:
            files = {gallery.photo_file(photo) for photo in gallery.photos()}
            assert files == set(settings.photos_dir.rglob("*.jpg"))
            assert len(files) == report.photo_files
            assert one_value(gallery, "SELECT count(*) = count(photo_id) FROM face_embeddings")
            sizes.add(len(files))
    assert len(sizes) > 1, "nobody enrolled meanwhile"
    # What was erased during a backup is gone as well.
    with Gallery.open(enrolled.settings) as gallery:
        assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 0
        there = {gallery.photo_file(photo) for photo in gallery.photos()}
    assert there == set(enrolled.settings.photos_dir.rglob("*.jpg"))


def test_files_of_the_erased_wait_for_the_end_of_a_backup(
    enrolled: Gallery, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [enrolled.photo_file(photo) for photo in enrolled.photos()]
    copy = ArchiveWriter.add_dump

    def erase_all(writer: ArchiveWriter, blocks: Iterator[bytes]) -> None:
        for user in enrolled.users():
            enrolled.erase_user(user.id)
        assert all(file.exists() for file in files)
        monkeypatch.setattr("pgface.operations.backup.create._LOCK_TIMEOUT_SECONDS", 0.05)
        with pytest.raises(GalleryError, match=says.ANOTHER_BACKUP_IS_UNDER_WAY.pattern()):
            back_up(enrolled.settings, archive.with_name("second.tar"))
        copy(writer, blocks)

    monkeypatch.setattr(ArchiveWriter, "add_dump", erase_all)
    report = back_up(enrolled.settings, archive)
    assert report.manifest.tables["users"] == 2
    assert report.manifest.photos is not None
    assert report.manifest.photos.files == 4
    assert not any(file.exists() for file in files)


def test_a_committed_photo_on_its_way_to_its_place_is_in_the_archive(enrolled: Gallery, archive: Path) -> None:
    photo = enrolled.photos()[0]
    place = enrolled.photo_file(photo)
    incoming = place.parents[1] / "incoming"
    place.rename(incoming / place.name)
    assert back_up(enrolled.settings, archive).missing == ()


# The command line


@pytest.fixture
def run(enrolled: Gallery, tmp_path: Path) -> Run:
    """Runs a command that may fail on the gallery with people in it."""
    return runner(environment_of(enrolled.settings), tmp_path)


def test_the_commands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\nsecond line\n")
    made = run("backup", "a.tar", "--passphrase-file", "passphrase")
    contents = says.CONTENTS.format(users=2, photos=4, files=4, embeddings=4)
    assert made.stdout.startswith(says.BACKED_UP.format(archive="a.tar", contents=contents))
    checked = run("restore", "--verify", "a.tar", more={"PGFACE_BACKUP_PASSPHRASE": PASSPHRASE})
    whole = says.IS_WHOLE_AND_ENCRYPTED.format(archive="a.tar", contents=contents)
    assert checked.stdout.startswith(f"{whole}\nWritten")
    for wrong, sentence in (
        (
            run("restore", "a.tar", code=1, more={"PGFACE_BACKUP_PASSPHRASE": "other"}),
            f"a.tar: {says.WRONG_PASSPHRASE}",
        ),
        (
            run("restore", "a.tar", code=1),
            f"a.tar: {says.NOBODY_TO_ASK_FOR_PASSPHRASE}",
        ),
        (
            run("backup", "b.tar", "--encrypt", code=1),
            says.NOBODY_TO_ASK_FOR_PASSPHRASE,
        ),
        (
            run("restore", "a.tar", "--passphrase-file", "nowhere", code=1),
            says.PASSPHRASE_CANNOT_BE_READ.format(file="nowhere"),
        ),
        (
            run("restore", "nowhere.tar", code=1),
            says.ARCHIVE_CANNOT_BE_READ.format(file="nowhere.tar", reason="No such file or directory"),
        ),
        (run("backup", "a.tar", code=1), says.COMMAND_SAYS_FILE_EXISTS.format(file="a.tar")),
    ):
        assert (wrong.stdout, wrong.stderr.count("\n")) == ("", 1), wrong.stderr
        assert wrong.stderr.startswith(sentence)
    assert run("backup", "plain.tar", "--force").stdout.endswith(f"{says.NOT_ENCRYPTED}\n")
    restored = run("restore", "plain.tar", "--json", more={"PGFACE_SCHEMA": "copy"})
    assert json.loads(restored.stdout)["photo_files"] == 4
    assert json.loads(restored.stdout)["model_problem"] is None


def test_a_restore_where_the_model_is_missing_says_which_and_what_to_do(
    enrolled: Gallery, archive: Path, tmp_path: Path, empty_database: str
) -> None:
    back_up(enrolled.settings, archive)
    place = elsewhere(enrolled.settings, tmp_path / "other", database_url=empty_database)
    said = runner(environment_of(place), tmp_path)("restore", str(archive)).stdout
    name, kept = str(enrolled.config.model_name), place.models_dir / str(enrolled.config.model_name)
    assert says_of_doctor.MODEL_IS_NOT_HERE.is_in(said, model=name, place=kept)
    assert str(enrolled.config.weights_sha256) in said
    with Gallery.open(place) as restored, pytest.raises(ModelNotInstalledError):
        restored.identify(np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_ended_leaves_no_file(enrolled: Gallery, archive: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "pgface", "backup", str(archive)]
    # It waits for the lock, so that it is under way for certain.
    with enrolled.database.transaction() as connection:
        connection.execute(queries()["hold_photo_files"])
        process = subprocess.Popen(
            command,
            env=without_settings() | environment_of(enrolled.settings),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        partial = archive.with_name(f"{archive.name}.partial")
        assert eventually(partial.exists, seconds=30)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(archive.parent.glob("backups.tar*"))
