"""A gallery is restored to a moment from a base backup and the archive of the write-ahead log, as its page says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgface.accounts import Client, create_key, list_keys, revoke_key, use_cases
from pgface.gallery import Gallery
from pgface.operations.doctor import diagnose
from pgface.settings import Settings
from support.commands import environment_of, runner
from support.embedded_server import eventually
from support.galleries import link_pack, rows
from support.page_shell import PageShell, own_all
from support.photos import Photos
from support.replication import Server, servers_folder

pytestmark = pytest.mark.slow

CLIENT = Client()


@pytest.fixture
def server() -> Iterator[Server]:
    """A new server, which can archive."""
    with servers_folder() as folder:
        server = Server(folder, "old")
        try:
            server.create()
            yield server
        finally:
            server.kill()


def test_a_gallery_as_it_was(server: Server, insightface_pack: Path, photos: Photos, tmp_path: Path) -> None:
    place = server.folder
    variables = {"ARCHIVE": f"{place}/archive", "BASE": f"{place}/base", "RESTORED": f"{place}/restored/data"}
    for folder in (place / "archive", place / "restored"):
        folder.mkdir()
    own_all(place)
    shell = PageShell("point-in-time.md", place, variables | {"PGFACE_DATABASE_URL": server.url})
    shell.run("archive")
    server.stop()
    server.start()

    settings = Settings.model_validate({"database_url": server.url, "data_dir": tmp_path / "data"})
    link_pack(insightface_pack, settings.models_dir)
    with Gallery.create(settings, model=str(insightface_pack)) as gallery:
        anna, boris = (enroll(gallery, photos, name) for name in ("Ariel_Sharon", "Colin_Powell"))
        shell.run("base")
        carl, eva = (enroll(gallery, photos, name) for name in ("Tony_Blair", "Gerhard_Schroeder"))
        photo_of_boris = gallery.photos("Colin_Powell@example.org")[1]
        _, key = create_key(gallery.database, "a program", ["identify"], CLIENT)
        before = state(gallery)
        moment = str(server.value("SELECT clock_timestamp()"))

        use_cases.delete_user(gallery, CLIENT, anna)
        gallery.erase_photo(photo_of_boris.id)
        photos_of_eva = {photo.id for photo in gallery.photos(eva)}
        gallery.erase_face(eva)
        revoke_key(gallery.database, key.id, CLIENT)
        dora = enroll(gallery, photos, "Hugo_Chavez")
        use_cases.delete_user(gallery, CLIENT, enroll(gallery, photos, "Vladimir_Putin"))
        server.execute("DELETE FROM users WHERE id = %s", carl)  # by plain SQL
        server.execute("SELECT pg_switch_wal()")
        archived = "SELECT last_archived_wal >= pg_walfile_name(%s::pg_lsn - 1) FROM pg_stat_archiver"
        assert eventually(lambda: bool(server.value(archived, server.value("SELECT pg_current_wal_lsn()::text"))))

    restored = Server(place, "restored")
    new = settings_at(restored, settings)
    shell.variables |= {"MOMENT": moment, "OLD_URL": server.url, "PGFACE_DATABASE_URL": restored.url}
    shell.run("restore")
    restored.start()
    try:
        assert restored.is_standby()
        assert restored.value("SELECT count(*) FROM users") == 4
        shell.run("resume")
        assert eventually(lambda: not restored.is_standby())
        with Gallery.open(new) as gallery:
            after = state(gallery)
        assert_equal(before, after)
        assert problems(new) == {"photo files"}

        for name in ("deleted", "again"):
            shell.run(name)
        # Two users, a photo and a key. A user who did not exist at that moment is unknown.
        assert sorted(deleted_again(shell, new)) == [0, 0, 0, 0, 1]
        assert set(shell.run("compare").split()) == {f"photos|{number}" for number in photos_of_eva}
        with Gallery.open(new) as gallery:
            assert {user.id for user in gallery.users()} == {boris, eva}
            gallery.erase_face(eva)
            assert [photo.id for photo in gallery.photos(boris)] != [photo_of_boris.id]
            assert all(one.revoked_at for one in list_keys(gallery.database))
        assert shell.run("compare") == ""
        shell.run("files")
        assert deleted_again(shell, new) == [0]
        assert dora not in after["users"]
        shell.run("events")
        assert restored.value("SELECT count(*) FROM gallery_events") == 0
        assert problems(new) == set()
    finally:
        restored.kill()


def enroll(gallery: Gallery, photos: Photos, person: str) -> int:
    for number in (1, 2):
        user = gallery.enroll(photos(person, number), f"{person}@example.org", face="largest").user
    return user.id


def settings_at(server: Server, settings: Settings) -> Settings:
    return Settings.model_validate({"database_url": server.url, "data_dir": settings.data_dir})


def state(gallery: Gallery) -> dict[str, Any]:
    with gallery.database.transaction() as connection:
        return {
            "users": [user_id for (user_id,) in rows(connection, "SELECT id FROM users ORDER BY id")],
            "photos": rows(connection, "SELECT id, user_id, content_sha256, filepath FROM photos ORDER BY id"),
            "embeddings": rows(connection, "SELECT id, photo_id, embedding FROM face_embeddings ORDER BY id"),
            "keys": rows(connection, "SELECT id, name FROM api_keys ORDER BY id"),
        }


def assert_equal(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert len(before["embeddings"]) == 8
    assert [row[:2] for row in before["embeddings"]] == [row[:2] for row in after["embeddings"]]
    for (*_, old), (*_, new) in zip(before["embeddings"], after["embeddings"], strict=True):
        assert np.array_equal(old, new)
    assert {k: v for k, v in before.items() if k != "embeddings"} == {
        k: v for k, v in after.items() if k != "embeddings"
    }


def problems(settings: Settings) -> set[str]:
    return {finding.check for finding in diagnose(settings) if finding.state in ("problem", "unknown")}


def deleted_again(shell: PageShell, settings: Settings) -> list[int]:
    """Run the calls of pgface, and return their exit codes."""
    run = runner(environment_of(settings))
    return [run(*call, code=None).returncode for call in shell.calls()]
