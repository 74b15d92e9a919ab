"""Migrating an old installation into a gallery, with a real PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pgface.accounts.tokens import token_hash
from pgface.cli.commands import app
from pgface.errors import MigrationError, ModelMismatchError, PgfaceError
from pgface.faces.face_choice import ChosenFace
from pgface.faces.models.folders import model_folder
from pgface.faces.models.registry import REGISTRY
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.gallery import Gallery
from pgface.operations.legacy.installation import OldInstallation, read_installation
from pgface.operations.legacy.migrate import MigrationReport, migrate
from pgface.operations.legacy.plan import Counts
from pgface.settings import Settings
from pgface.vectors import unit_embeddings
from support.documentation import blocks
from support.galleries import contents, in_both_schemas, one_value, rows
from support.old_installation import (
    OWNERS,
    PHOTOS,
    TOKENS,
    USERS,
    some_vectors,
    write_labels,
    write_sqlite,
    write_vectors,
)
from support.photos import Photos
from support.sentences import database
from support.sentences import migration as says

DLIB_FILES = [file.path(model_folder("dlib", Path())) for file in REGISTRY["dlib"].files]
INDEX_IS_WHOLE = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_embeddings_vector'::regclass"
EVERYTHING = Counts(users=3, photos=3, tokens=2, embeddings=6)


@pytest.fixture
def old(tmp_path: Path) -> OldInstallation:
    return read_installation(
        sqlite=write_sqlite(tmp_path / "old.db"),
        npy=write_vectors(tmp_path / "face_db.npy"),
        json=write_labels(tmp_path / "face_db.json"),
    )


def run(old: OldInstallation, settings: Settings, **options: Any) -> MigrationReport:
    return migrate(old, settings, model="dlib", **options)


def state(settings: Settings) -> tuple[Any, ...]:
    with Gallery.open(settings) as gallery:
        return contents(gallery)


@in_both_schemas
def test_everything_is_migrated_unchanged(old: OldInstallation, settings: Settings) -> None:
    progress: list[tuple[int, int]] = []
    report = run(old, settings, on_rows=lambda done, total: progress.append((done, total)))
    assert report.old_counts == report.written_counts == EVERYTHING
    assert report.verified is not None
    assert (report.verified.users, report.verified.sample) == (3, 6)
    assert progress == [(6, 6)]
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        assert rows(connection, "SELECT id, name, email, password FROM users ORDER BY id") == [u[:4] for u in USERS]
        assert rows(connection, "SELECT created_at::text FROM users WHERE id = 30") == [("2024-03-03 03:00:00",)]
        stored = rows(connection, "SELECT id, user_id, filename, filepath, width, height FROM photos ORDER BY id")
        assert stored == [photo[:6] for photo in PHOTOS]
        assert rows(connection, "SELECT id, user_id, token, confidence, is_active FROM auth_tokens ORDER BY id") == [
            (2, 7, token_hash("token-of-siti"), 0.875, True),
            (5, 12, token_hash("token-of-budi"), 0.5, False),
        ]
        assert rows(connection, "SELECT expires_at::text FROM auth_tokens ORDER BY id") == [
            ("2034-04-01 00:00:00",),
            (None,),
        ]
        faces = rows(connection, "SELECT user_id, photo_id, embedding FROM face_embeddings ORDER BY id")
        assert [(user, photo) for user, photo, _ in faces] == [
            (7, 4), (12, None), (12, None), (30, None), (30, None), (30, None)
        ]  # fmt: skip
        assert np.array_equal(np.stack([vector.to_numpy() for *_, vector in faces]), unit_embeddings(some_vectors(6)))
        # New rows get new ids.
        assert gallery.add_user("new@example.org").id == 31
        assert rows(connection, "SELECT nextval(pg_get_serial_sequence('photos', 'id'))") == [(12,)]
        assert rows(connection, "SELECT nextval(pg_get_serial_sequence('auth_tokens', 'id'))") == [(6,)]
        assert gallery.identify_embedding(some_vectors(6)[1])[0].user_id == 12


@in_both_schemas
def test_a_second_run_changes_nothing(old: OldInstallation, settings: Settings) -> None:
    run(old, settings)
    before = state(settings)
    for merge in (False, True):
        report = run(old, settings, merge=merge)
        assert report.written_counts == Counts(0, 0, 0, 0)
        assert report.verified is None
        assert state(settings) == before


def test_a_dry_run_writes_nothing(old: OldInstallation, settings: Settings) -> None:
    report = run(old, settings, dry_run=True)
    assert (report.old_counts, report.written_counts, report.in_gallery) == (EVERYTHING, None, None)
    with pytest.raises(PgfaceError):
        Gallery.open(settings)
    run(old, settings)
    before = state(settings)
    assert run(old, settings, dry_run=True).in_gallery == EVERYTHING
    assert state(settings) == before


def test_the_database_alone_and_the_embeddings_later(tmp_path: Path, settings: Settings, old: OldInstallation) -> None:
    report = run(read_installation(sqlite=tmp_path / "old.db"), settings)
    assert report.written_counts == Counts(3, 3, 2, 0)
    with pytest.raises(MigrationError, match=says.GALLERY_IS_NOT_EMPTY.pattern(missing="6 embeddings")):
        run(old, settings)
    assert run(old, settings, merge=True).written_counts == Counts(0, 0, 0, 6)


@pytest.mark.usefixtures("old")
def test_the_embeddings_alone(tmp_path: Path, settings: Settings) -> None:
    report = run(read_installation(npy=tmp_path / "face_db.npy", json=tmp_path / "face_db.json"), settings)
    assert report.written_counts == Counts(3, 0, 0, 6)
    assert report.verified is not None
    with Gallery.open(settings) as gallery:
        assert gallery.user(30).email == "user-30@legacy.invalid"


def test_merging_keeps_existing_rows_and_changes_ids_that_are_taken(old: OldInstallation, settings: Settings) -> None:
    with Gallery.create(settings, model="dlib") as gallery, gallery.database.transaction() as connection:
        connection.execute(
            "INSERT INTO users (id, name, email, password) VALUES "
            "(7, 'Another user', 'else@example.org', 'x'), (8, 'Budi', 'BUDI@example.org', 'own')"
        )
        connection.execute("INSERT INTO photos (id, user_id, filename, filepath) VALUES (9, 7, 'a.jpg', 'a.jpg')")
        connection.execute(
            "INSERT INTO face_embeddings (user_id, embedding) VALUES (8, %s)", (unit_embeddings(some_vectors(6))[1],)
        )
        before = rows(connection, "SELECT * FROM users ORDER BY id")
    missing = "2 users, 3 photos, 2 tokens, 5 embeddings"
    with pytest.raises(MigrationError, match=says.GALLERY_IS_NOT_EMPTY.pattern(missing=missing)):
        run(old, settings)
    report = run(old, settings, merge=True)
    assert report.written_counts == Counts(
        users=2, photos=3, tokens=2, embeddings=5
    )  # the gallery has one embedding of Budi
    assert report.renamed_users == {7: 31, 12: 8}
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        assert rows(connection, "SELECT * FROM users WHERE id < 10 ORDER BY id") == before
        assert rows(connection, "SELECT id, email FROM users WHERE id > 8 ORDER BY id") == [
            (30, "ani@example.org"),
            (31, "siti@example.org"),
        ]
        assert rows(connection, "SELECT id, user_id, filename FROM photos ORDER BY id") == [
            (4, 31, "siti.jpg"),
            (9, 7, "a.jpg"),
            (11, 8, "budi-2.jpg"),
            (12, 8, "budi-1.jpg"),
        ]
        assert rows(connection, "SELECT user_id, photo_id FROM face_embeddings ORDER BY user_id, photo_id") == [
            (8, None), (8, None), (30, None), (30, None), (30, None), (31, 4)
        ]  # fmt: skip
        assert gallery.add_user("new@example.org").id == 32
    assert run(old, settings, merge=True).written_counts == Counts(0, 0, 0, 0)


def test_a_gallery_of_another_model_is_not_changed(old: OldInstallation, settings: Settings, gallery: Gallery) -> None:
    before = contents(gallery)
    with pytest.raises(ModelMismatchError):
        run(old, settings)
    assert contents(gallery) == before


@pytest.mark.parametrize("table", ["users", "photos", "auth_tokens", "face_embeddings"])
def test_all_or_nothing(old: OldInstallation, settings: Settings, tmp_path: Path, photos: Photos, table: str) -> None:
    shutil.copy(photos("Tony_Blair", 1), tmp_path / "siti.jpg")
    with Gallery.create(settings, model="dlib") as gallery:
        with gallery.database.transaction() as connection:
            connection.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$"
            )
            # The last row of the table is refused.
            last = {"users": 30, "photos": 11, "auth_tokens": 5, "face_embeddings": 6}[table]
            connection.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN (new.id = {last}) "
                "EXECUTE FUNCTION refuse()".encode()
            )
        before = contents(gallery)
    with pytest.raises(PgfaceError):
        run(old, settings, photos=tmp_path)
    with Gallery.open(settings) as gallery:  # opening the gallery deletes files without rows
        assert contents(gallery) == before
        assert one_value(
            gallery, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_embeddings_vector'::regclass"
        )


def test_problems_of_the_data_are_refused_before_anything_is_written(tmp_path: Path, settings: Settings) -> None:
    vectors = some_vectors(6)
    vectors[2, 3] = np.nan
    old = read_installation(
        npy=write_vectors(tmp_path / "a.npy", vectors), json=write_labels(tmp_path / "a.json", [*OWNERS, 7])
    )
    with pytest.raises(MigrationError, match=says.ROW_AND_ONE_MORE_PROBLEM.pattern(row=2)):
        run(old, settings)
    vectors[4] = 0
    old = read_installation(npy=write_vectors(tmp_path / "b.npy", vectors), json=tmp_path / "a.json")
    with pytest.raises(MigrationError, match=says.ROW_AND_MORE_PROBLEMS.pattern(row=2, more=2)):
        run(old, settings)
    with pytest.raises(PgfaceError):
        Gallery.open(settings)


def test_many_embeddings_are_loaded_before_the_index_is_built(tmp_path: Path, settings: Settings) -> None:
    count = 2_500
    owners = (np.arange(count) % 400 + 1).tolist()
    old = read_installation(
        npy=write_vectors(tmp_path / "a.npy", some_vectors(count).astype(np.float32).reshape(count, 1, 512)),
        json=write_labels(tmp_path / "a.json", owners),
    )
    progress: list[int] = []
    report = run(old, settings, on_rows=lambda done, _: progress.append(done))
    assert report.written_counts == Counts(400, 0, 0, count)
    assert progress == [1_000, 2_000, 2_500]
    with Gallery.open(settings) as gallery:
        assert one_value(
            gallery, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_embeddings_vector'::regclass"
        )
        assert one_value(gallery, "SELECT reltuples FROM pg_class WHERE oid = 'face_embeddings'::regclass") == count
        assert gallery.identify_embedding(some_vectors(count)[1_234])[0].user_id == owners[1_234]


# Photo files


def test_photo_files_are_copied_without_metadata(tmp_path: Path, settings: Settings, photos: Photos) -> None:
    folder = tmp_path / "app"
    (folder / "static" / "photos").mkdir(parents=True)
    bare, tagged, png = folder / "bare.jpg", folder / "static" / "photos" / "tagged.jpg", folder / "png.png"
    with Image.open(photos("Tony_Blair", 1)) as image:
        image.save(bare, quality=80)
        exif = Image.Exif()
        exif[0x010F] = "the make of the camera"
        image.save(tagged, quality=80, exif=exif)
        image.save(png)
    (folder / "broken.jpg").write_bytes(bare.read_bytes()[:500])
    (tmp_path / "outside.jpg").write_bytes(bare.read_bytes())
    names = [
        ("bare.jpg", "C:\\app\\bare.jpg"),
        ("tagged.jpg", "static/photos/tagged.jpg"),
        ("png.png", "png.png"),
        ("broken.jpg", "/srv/app/broken.jpg"),
        ("gone.jpg", "static/gone.jpg"),
        ("outside.jpg", "../outside.jpg"),
    ]
    listed = [(number, 7, name, path, 224, 224, None) for number, (name, path) in enumerate(names, 1)]
    old = read_installation(sqlite=write_sqlite(tmp_path / "old.db", photos=listed))
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    report = run(old, settings, photos=folder)
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before
    assert report.photo_files == 3
    assert report.missing_files == ("photos 5: static/gone.jpg", "photos 6: ../outside.jpg")
    (unusable,) = report.unusable_files
    assert unusable.startswith("photos 4: broken.jpg: ")
    with Gallery.open(settings) as gallery:
        with gallery.database.transaction() as connection:
            paths = [path for (path,) in rows(connection, "SELECT filepath FROM photos ORDER BY id")]
        assert paths[3:] == [path for _, path in names[3:]]
        kept = [settings.photos_dir / path for path in paths[:3]]
        assert kept[0].read_bytes() == bare.read_bytes()
        assert b"the make of the camera" in tagged.read_bytes()
        assert b"the make of the camera" not in kept[1].read_bytes()
        with Image.open(kept[2]) as copied, Image.open(png) as original:
            assert (copied.format, copied.size) == ("JPEG", original.size)
        assert all(file.stat().st_mode & 0o077 == 0 for file in kept)
        # Deleting a user deletes the files too.
        gallery.erase_user(7)
        assert not any(file.exists() for file in kept)
    assert run(read_installation(sqlite=tmp_path / "old.db"), settings, merge=True).written_counts == Counts(1, 6, 1, 0)


@pytest.fixture
def real_installation(tmp_path: Path, photos: Photos, gallery: Gallery) -> tuple[Path, OldInstallation]:
    """An old installation with real photos, whose embeddings the InsightFace model made."""
    folder = tmp_path / "app"
    folder.mkdir()
    people = ["Ariel_Sharon", "Colin_Powell", "Tony_Blair"]
    users = [(number, name, f"{name}@example.org", "x", None) for number, name in enumerate(people, 1)]
    listed: list[tuple[Any, ...]] = []
    owners, vectors = [], []
    limits = PhotoLimits.from_settings(gallery.settings)
    for number, name in enumerate(people, 1):
        for photo in (1, 2):
            file = folder / f"{name}-{photo}.jpg"
            shutil.copy(photos(name, photo), file)
            with open_photo(file, limits) as opened:
                (face,) = gallery.engine.detect_and_embed(opened.pixels, ChosenFace(file.name, "largest"))
            listed.append((len(listed) + 1, number, file.name, str(file), 224, 224, None))
            owners.append(number)
            vectors.append(face.embedding * 3)
    old = read_installation(
        sqlite=write_sqlite(tmp_path / "old.db", users=users, photos=listed, tokens=()),
        npy=write_vectors(tmp_path / "face_db.npy", np.stack(vectors)),
        json=write_labels(tmp_path / "face_db.json", owners),
    )
    return folder, old


def test_the_model_is_verified_by_embedding_photos_again(
    real_installation: tuple[Path, OldInstallation], settings: Settings, insightface_pack: Path, photos: Photos
) -> None:
    folder, old = real_installation
    report = migrate(old, settings, model=str(insightface_pack), photos=folder)
    assert report.model_check is not None
    assert report.model_check.photos == 6
    assert report.model_check.similarity > 0.999
    with Gallery.open(settings) as gallery:
        (face,) = gallery.identify(photos("Colin_Powell", 5)).faces
        assert face.matches[0].name == "Colin_Powell"


def test_embeddings_of_another_model_are_refused(
    real_installation: tuple[Path, OldInstallation], settings: Settings, gallery: Gallery
) -> None:
    folder, old = real_installation
    before = contents(gallery)
    with pytest.raises(MigrationError, match=says.ANOTHER_MODEL_MADE_THE_EMBEDDINGS.pattern(photos=6, model="dlib")):
        migrate(old, settings, model="dlib", photos=folder)
    assert contents(gallery) == before


@pytest.fixture
def face_recognition(tmp_path: Path, photos: Photos) -> tuple[Path, OldInstallation]:
    """An old installation with real photos, and descriptors made as the package face_recognition makes them."""
    folder = tmp_path / "app"
    folder.mkdir()
    files = {file.name: str(file) for file in DLIB_FILES}
    find = dlib.get_frontal_face_detector()
    place = dlib.shape_predictor(files["shape_predictor_5_face_landmarks.dat"])
    describe = dlib.face_recognition_model_v1(files["dlib_face_recognition_resnet_model_v1.dat"])
    people = ["Ariel_Sharon", "Colin_Powell", "Gerhard_Schroeder"]
    users = [(number, name, f"{name}@example.org", "x", None) for number, name in enumerate(people, 1)]
    listed: list[tuple[Any, ...]] = []
    descriptors = []
    for number, name in enumerate(people, 1):
        file = folder / f"{name}.jpg"
        shutil.copy(photos(name, 1), file)
        pixels = np.asarray(Image.open(file).convert("RGB"))
        descriptors.append(np.array(describe.compute_face_descriptor(pixels, place(pixels, find(pixels, 1)[0]), 1)))
        listed.append((number, number, file.name, str(file), 224, 224, None))
    old = read_installation(
        sqlite=write_sqlite(tmp_path / "old.db", users=users, photos=listed, tokens=()),
        npy=write_vectors(tmp_path / "face_db.npy", np.stack(descriptors)),
        json=write_labels(tmp_path / "face_db.json", [1, 2, 3]),
    )
    return folder, old


def test_encodings_of_face_recognition_become_embeddings_of_dlib(
    face_recognition: tuple[Path, OldInstallation], settings: Settings, photos: Photos
) -> None:
    folder, old = face_recognition
    assert old.vectors.shape == (3, 128)
    report = migrate(old, settings, model="dlib", photos=folder)
    assert report.model_check is not None
    assert report.model_check.photos == 3
    assert report.model_check.similarity > 0.9
    with Gallery.open(settings) as gallery:
        (face,) = gallery.identify(photos("Colin_Powell", 2)).faces
        assert face.matches[0].name == "Colin_Powell"
    assert migrate(old, settings, model="dlib", merge=True).written_counts == Counts(0, 0, 0, 0)


def test_encodings_of_face_recognition_need_dlib(
    face_recognition: tuple[Path, OldInstallation], settings: Settings
) -> None:
    for dry_run in (True, False):
        with pytest.raises(MigrationError, match=says.DESCRIPTORS_ARE_OF_DLIB.pattern()):
            migrate(face_recognition[1], settings, model="sface", dry_run=dry_run)


# The file of each photo


def old_photos(tmp_path: Path, *paths: str) -> OldInstallation:
    """Read an old installation with users 1, 2, ..., each with one photo at a path."""
    users = [(number, f"P{number}", f"p{number}@example.org", "x", None) for number in range(1, len(paths) + 1)]
    listed = [(n, n, path.replace("\\", "/").split("/")[-1], path, 224, 224, None) for n, path in enumerate(paths, 1)]
    return read_installation(sqlite=write_sqlite(tmp_path / "old.db", users=users, photos=listed, tokens=()))


def photo_at(photos: Photos, file: Path, person: str = "Tony_Blair") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(photos(person, 1), file)
    return file


@pytest.mark.parametrize(
    ("paths", "there", "taken", "reason"),
    [
        # A missing file is not replaced by a file with the same name in another folder.
        (["IMG_2.jpg", "old/IMG_1.jpg", "IMG_1.jpg"], ["IMG_1.jpg", "IMG_2.jpg"], {1: "IMG_2.jpg", 3: "IMG_1.jpg"}, ""),
        # The longest common end decides.
        (
            [f"/srv/app/uploads/{n}/face.jpg" for n in (1, 2, 3)],
            ["face.jpg", "1/face.jpg", "2/face.jpg", "3/face.jpg"],
            {1: "1/face.jpg", 2: "2/face.jpg", 3: "3/face.jpg"},
            "",
        ),
        # Several old paths end with the name of the file.
        (
            [f"/srv/{n}/face.jpg" for n in (1, 2)],
            ["face.jpg"],
            {},
            says.SEVERAL_OLD_PATHS_END_LIKE_THE_FILE.format(file="face.jpg", paths=2),
        ),
        (
            ["C:\\a\\1\\x.jpg", "D:\\b\\1\\x.jpg"],
            ["1/x.jpg"],
            {},
            says.SEVERAL_OLD_PATHS_END_LIKE_THE_FILE.format(file="1/x.jpg", paths=2),
        ),
        (["C:\\a\\1\\x.jpg", "D:\\b\\2\\x.jpg"], ["1/x.jpg", "2/x.jpg"], {1: "1/x.jpg", 2: "2/x.jpg"}, ""),
        # The name of the folder is a part of the path.
        (
            ["/srv/photos/a.jpg", "/srv/photos/old/a.jpg"],
            ["a.jpg"],
            {1: "a.jpg"},
            f"old/a.jpg {says.SEVERAL_OLD_PATHS_END_LIKE_THE_FILE.format(file='a.jpg', paths=2)}",
        ),
        (
            ["/srv/photos/a.jpg"],
            ["a.jpg", "photos/a.jpg"],
            {},
            says.TWO_FILES_END_LIKE_THE_OLD_PATH.format(end="photos/a.jpg"),
        ),
        # Both paths are those of one file.
        (["a.jpg", "./a.jpg"], ["a.jpg"], {1: "a.jpg", 2: "a.jpg"}, ""),
        # No path leads outside of the folder.
        (["../outside.jpg", "photos/../../outside.jpg", "link.jpg", "folder/outside.jpg"], [], {}, ""),
        (["d" * 300 + "/gone.jpg", "/srv/" + "d" * 5_000 + "/a.jpg"], ["a.jpg"], {2: "a.jpg"}, ""),
        (
            ["/srv/new.jpg", "/srv/other/alias.jpg"],
            ["new.jpg", "alias.jpg -> new.jpg"],
            {},
            says.FILE_ALSO_MATCHES_ANOTHER_OLD_PATH.format(file="new.jpg"),
        ),
    ],
)
def test_a_photo_never_gets_the_file_of_another_photo(
    tmp_path: Path,
    settings: Settings,
    photos: Photos,
    paths: list[str],
    there: list[str],
    taken: dict[int, str],
    reason: str,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    outside = photo_at(photos, tmp_path / "outside.jpg")
    (folder / "link.jpg").symlink_to(outside)
    (folder / "folder").symlink_to(tmp_path)
    for name in there:
        name, _, target = name.partition(" -> ")
        if target:
            (folder / name).symlink_to(target)
        else:
            with Image.open(outside) as image:  # each file has another size
                image.resize((100 + 10 * there.index(name), 100)).save(photo_at(photos, folder / name))
    old = old_photos(tmp_path, *paths)
    tried = run(old, settings, photos=folder, dry_run=True)
    report = run(old, settings, photos=folder)
    assert report.photo_files == len(taken)
    assert reason in " ".join(report.missing_files)
    assert len(report.missing_files) == len(paths) - len(taken)
    fields = ("photo_files", "missing_files", "unusable_files")
    assert [getattr(tried, name) for name in fields] == [getattr(report, name) for name in fields]
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        stored = dict(rows(connection, "SELECT id, filepath FROM photos"))
    for number, path in enumerate(paths, 1):
        if number in taken:
            with Image.open(settings.photos_dir / stored[number]) as kept, Image.open(folder / taken[number]) as given:
                assert kept.size == given.size
        else:
            assert stored[number] == path


def test_files_can_be_copied_after_their_rows(tmp_path: Path, settings: Settings, photos: Photos) -> None:
    folder = tmp_path / "photos"
    old = old_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    photo_at(photos, folder / "a.jpg")
    (folder / "b.jpg").write_bytes(b"no photo")
    run(old, settings)
    assert run(old, settings, photos=folder, dry_run=True).adopted_files == 1
    report = run(old, settings, photos=folder)
    assert report.written_counts == Counts(0, 0, 0, 0)
    assert (report.photo_files, report.adopted_files, len(report.unusable_files)) == (1, 1, 1)
    assert report.missing_files == ("photos 3: c.jpg",)
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        paths = [path for (path,) in rows(connection, "SELECT filepath FROM photos ORDER BY id")]
    assert (settings.photos_dir / paths[0]).is_file()
    assert paths[1:] == ["b.jpg", "c.jpg"]
    before = state(settings)
    again = run(old, settings, photos=folder)
    assert (again.photo_files, again.adopted_files) == (0, 0)
    assert state(settings) == before


def test_all_files_are_copied_after_their_rows_or_none(tmp_path: Path, settings: Settings, photos: Photos) -> None:
    old = old_photos(tmp_path, "a.jpg", "b.jpg")
    for name in ("a.jpg", "b.jpg"):
        photo_at(photos, tmp_path / "photos" / name)
    run(old, settings)
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON photos FOR EACH ROW WHEN (new.id = 2) EXECUTE FUNCTION refuse()"
        )
    before = state(settings)
    with pytest.raises(PgfaceError, match="no more"):
        run(old, settings, photos=tmp_path / "photos")
    assert state(settings)[0] == before[0]
    assert list(settings.photos_dir.rglob("*.jpg")) == []


# A gallery that is not empty


def test_passwords_are_copied_to_users_who_have_none(old: OldInstallation, settings: Settings) -> None:
    with Gallery.create(settings, model="dlib") as gallery, gallery.database.transaction() as connection:
        connection.execute(
            "INSERT INTO users (name, email, password) VALUES ('Siti', 'SITI@example.org', '!'), "
            "('Budi', 'budi@example.org', 'own'), ('Ani', 'ani@example.org', 'hash')"
        )
    for dry_run in (True, False):
        report = run(old, settings, merge=True, dry_run=dry_run)
        assert report.copied_passwords == 1
        assert report.kept_passwords == ("users 12: Budi@Example.org",)
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        stored = rows(connection, "SELECT password FROM users ORDER BY id")
        assert [password for (password,) in stored] == [USERS[0][3], "own", "hash"]
        connection.execute("UPDATE users SET password = '!' WHERE name = 'Siti'")
    with pytest.raises(MigrationError, match=says.GALLERY_IS_NOT_EMPTY.pattern(missing="1 password")):
        run(old, settings)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_refuses_the_same_as_the_migration(old: OldInstallation, settings: Settings, dry_run: bool) -> None:
    with Gallery.create(settings, model="dlib") as gallery:
        gallery.load_embeddings([gallery.add_user("siti@example.org").id], some_vectors(6)[:1])
        before = contents(gallery)
    missing = "2 users, 3 photos, 2 tokens, 5 embeddings, 1 password"
    with pytest.raises(MigrationError, match=says.GALLERY_IS_NOT_EMPTY.pattern(missing=missing)):
        run(old, settings, dry_run=dry_run)
    assert state(settings) == before
    if dry_run:
        assert run(old, settings, dry_run=True, merge=True).in_gallery == Counts(1, 0, 0, 1)
        assert state(settings) == before


def test_a_dry_run_checks_the_model_of_the_gallery(old: OldInstallation, settings: Settings, gallery: Gallery) -> None:
    before = contents(gallery)
    with pytest.raises(ModelMismatchError):
        run(old, settings, dry_run=True)
    assert contents(gallery) == before


def test_a_dry_run_creates_no_database_and_reports_what_it_did_not_check(
    old: OldInstallation, settings: Settings, tmp_path: Path
) -> None:
    report = run(old, settings, dry_run=True)
    no_schema, _, _ = database.NO_SCHEMA_IN_THE_DATABASE.format(schema=settings.schema_name).partition(". ")
    assert (report.not_checked or "").startswith(no_schema)
    embedded = settings.model_copy(update={"database_url": None, "data_dir": tmp_path / "nothing"})
    report = run(old, embedded, dry_run=True)
    assert (report.not_checked or "").startswith(says.NO_DATABASE_YET)
    assert not (tmp_path / "nothing").exists()


# The command


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    assert settings.database_url is not None
    monkeypatch.setenv("PGFACE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("PGFACE_SCHEMA", settings.schema_name)
    monkeypatch.setenv("PGFACE_DATA_DIR", str(settings.data_dir))
    monkeypatch.chdir(tmp_path)
    from pgface.settings import get_settings

    get_settings.cache_clear()
    return lambda *arguments: CliRunner().invoke(app, ["migrate", *arguments])


FILES = ("--model", "dlib", "--sqlite", "old.db", "--npy", "face_db.npy", "--json", "face_db.json")


@pytest.mark.usefixtures("old")
def test_the_command_after_a_dry_run_a_migration_and_a_second_run(command: Callable[..., Any]) -> None:
    assert says.DRY_RUN_WROTE_NOTHING in command(*FILES, "--dry-run").stdout
    done = command(*FILES)
    assert done.exit_code == 0
    assert says.MIGRATED_IN_SOME_SECONDS in done.stdout
    assert says.EMBEDDINGS_FIND_THEMSELVES.format(embeddings=6) in done.stdout
    assert says.EVERYTHING_IS_IN_THE_GALLERY in command(*FILES).stdout
    report = json.loads(command(*FILES, "--report-json").stdout)
    assert report["written_counts"] == {"users": 0, "photos": 0, "tokens": 0, "embeddings": 0}
    assert report["in_gallery"] == {"users": 3, "photos": 3, "tokens": 2, "embeddings": 6}


@pytest.mark.usefixtures("old")
def test_the_command_reports_files_and_passwords(
    command: Callable[..., Any], settings: Settings, tmp_path: Path, photos: Photos
) -> None:
    assert command(*FILES).exit_code == 0
    with Gallery.open(settings) as gallery, gallery.database.transaction() as connection:
        connection.execute("UPDATE users SET password = CASE id WHEN 7 THEN '!' ELSE 'own' END WHERE id < 30")
    photo_at(photos, tmp_path / "photos" / "budi-1.jpg")
    only_rows = (*FILES[:4], "--photos", "photos", "--merge")
    done = command(*only_rows, "--dry-run")
    assert says.FILES_WERE_FOUND.format(files=1, adopted=1) in done.stdout
    assert says.PASSWORDS_WOULD_BE_COPIED.format(count=1) in done.stdout
    other_password = says.USERS_HAVE_ANOTHER_PASSWORD.format(count=1)
    assert f"{other_password}\n  users 12: Budi@Example.org" in done.stderr
    done = command(*only_rows)
    assert says.FILES_WERE_COPIED.format(files=1, adopted=1) in done.stdout
    assert says.PASSWORDS_WERE_COPIED.format(count=1) in done.stdout
    assert says.EVERY_ROW_WAS_IN_THE_GALLERY in done.stdout
    assert not any(user[3] in done.output.split() for user in USERS)


def test_the_command_lists_every_problem(command: Callable[..., Any], tmp_path: Path) -> None:
    write_sqlite(tmp_path / "old.db")
    write_vectors(tmp_path / "face_db.npy")
    write_labels(tmp_path / "face_db.json", [7, 12, 12, 30, 99])
    done = command(*FILES)
    assert done.exit_code == 1
    differ = says.ROWS_AND_LABELS_DIFFER.format(vectors="face_db.npy", rows=6, labels="face_db.json", users=5)
    assert differ in done.stderr
    assert says.ROWS_OF_USERS_NOT_IN_SQLITE.format(file="face_db.json", count=1) in done.stderr
    assert "row 4: user 99" in done.stderr
    assert done.stderr.rstrip().endswith(says.NOTHING_WAS_WRITTEN)


@pytest.mark.usefixtures("old")
def test_no_token_and_no_password_is_printed(command: Callable[..., Any]) -> None:
    done = command(*FILES)
    for secret in [*(token[2] for token in TOKENS), *(hashlib.sha256(t[2].encode()).hexdigest() for t in TOKENS)]:
        assert secret not in done.output
    assert not any(user[3] in done.output.split() for user in USERS)


def test_the_commands_of_the_page(
    real_installation: tuple[Path, OldInstallation],
    settings: Settings,
    insightface_pack: Path,
    tmp_path: Path,
    command: Callable[..., Any],
) -> None:
    assert command is not None  # the fixture sets the environment for the commands of the page
    (tmp_path / "models").mkdir()
    (tmp_path / "static").mkdir()
    for name in ("face_db.npy", "face_db.json"):
        (tmp_path / name).rename(tmp_path / "models" / name)
    real_installation[0].rename(tmp_path / "static" / "photos")
    lines = [line for block in blocks("migration.md") for line in block.text.splitlines()]
    assert len(lines) == 5
    for line in lines:
        program, *arguments = shlex.split(line.replace("buffalo_l", str(insightface_pack)))
        done = CliRunner().invoke(app, arguments)
        assert program == "pgface"
        assert done.exit_code == 0, done.output
    with Gallery.open(settings) as gallery:
        assert gallery.status().embeddings == 6
