"""Enrolling a folder of people."""

from __future__ import annotations

import csv
import os
import shutil
import threading
from pathlib import Path

import psycopg
import pytest
from PIL import Image
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgface import Gallery, Settings
from pgface.errors import DatabaseUnreachableError, GalleryError, PhotoNotReadableError
from pgface.gallery.enroll_folder import person_of
from pgface.gallery.workers import content_sha256 as sha256_of
from support.galleries import contents, in_both_schemas, one_value
from support.photos import Photos
from support.sentences import gallery as says
from support.sentences import photos as says_of_photos

pytestmark = pytest.mark.slow


@pytest.fixture
def people(faces_dir: Path, tmp_path: Path) -> Path:
    """A folder with three photos of each of four people. One photo shows another person as well."""
    folder = tmp_path / "people"
    for person in ("Colin_Powell", "George_W_Bush", "Gerhard_Schroeder", "Tony_Blair"):
        (folder / person).mkdir(parents=True)
        for number in (1, 2, 3):
            photo = f"{person}_{number:04}.jpg"
            shutil.copy(faces_dir / person / photo, folder / person / photo)
    return folder


@in_both_schemas
def test_a_folder_of_people(gallery: Gallery, people: Path, photos: Photos) -> None:
    progress: list[tuple[int, int]] = []
    report = gallery.enroll_folder(people, on_progress=lambda done, total: progress.append((done, total)))
    assert {outcome: report.count(outcome) for outcome in ("enrolled", "already enrolled", "refused")} == {
        "enrolled": 11,
        "already enrolled": 0,
        "refused": 1,
    }
    (refused,) = (photo for photo in report.photos if photo.outcome == "refused")
    assert (refused.photo, refused.error) == ("Tony_Blair/Tony_Blair_0001.jpg", "SeveralFacesError")
    assert says_of_photos.SEVERAL_FACES.is_in(refused.reason, count=2)
    assert progress == [(done, 12) for done in range(1, 13)]
    assert [(user.name, user.email, user.photos) for user in gallery.users()] == [
        ("Colin Powell", "colin-powell@pgface.invalid", 3),
        ("George W Bush", "george-w-bush@pgface.invalid", 3),
        ("Gerhard Schroeder", "gerhard-schroeder@pgface.invalid", 3),
        ("Tony Blair", "tony-blair@pgface.invalid", 2),
    ]
    assert one_value(gallery, "SELECT count(DISTINCT password) FROM users WHERE password = '!'") == 1
    assert all(gallery.photo_file(photo).is_file() for photo in gallery.photos())
    (face,) = gallery.identify(photos("Colin_Powell", 5)).faces
    assert face.matches[0].name == "Colin Powell"
    quality = one_value(
        gallery,
        "SELECT bool_and(detection_score > 0.5 AND box_width > 40 AND sharpness > 0 AND brightness > 0 AND roll "
        "IS NOT NULL) FROM face_embeddings",
    )
    assert quality is True


def test_a_second_run_enrolls_only_what_is_new(gallery: Gallery, people: Path, photos: Photos) -> None:
    gallery.enroll_folder(people, face="largest")
    before = contents(gallery)
    again = gallery.enroll_folder(people, face="largest")
    assert again.count("already enrolled") == 12
    assert contents(gallery) == before

    shutil.copy(photos("Colin_Powell", 4), people / "Colin_Powell" / "new.jpg")
    shutil.copy(photos("Colin_Powell", 4), people / "Colin_Powell" / "the same again.jpg")
    report = gallery.enroll_folder(people, face="largest")
    assert (report.count("enrolled"), report.count("already enrolled")) == (1, 13)


def test_a_file_is_hashed_before_decoding_only_if_it_may_be_enrolled_already(
    gallery: Gallery, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def content_sha256(file: Path, max_bytes: int) -> str | None:
        content = sha256_of(file, max_bytes)
        if content is not None:
            hashed.append(file.name)
        return content

    monkeypatch.setattr("pgface.gallery.workers.content_sha256", content_sha256)
    shutil.move(people / "Tony_Blair", people.parent)
    gallery.enroll_folder(people)
    assert hashed == []

    shutil.move(people.parent / "Tony_Blair", people)
    limit = gallery.settings.max_photo_bytes
    with (people / "Colin_Powell" / "at the limit.jpg").open("wb") as stream:
        stream.truncate(limit)
    with (people / "Colin_Powell" / "huge.jpg").open("wb") as stream:
        stream.truncate(limit + 1)
    os.mkfifo(people / "Colin_Powell" / "pipe.jpg")
    report = gallery.enroll_folder(people, face="largest")
    names = [f"{name}_000{n}.jpg" for name in ("Colin_Powell", "George_W_Bush", "Gerhard_Schroeder") for n in (1, 2, 3)]
    assert sorted(hashed) == sorted([*names, "at the limit.jpg"])
    assert (report.count("already enrolled"), report.count("enrolled")) == (9, 3)
    assert {photo.photo: photo.error for photo in report.photos if photo.outcome == "refused"} == {
        "Colin_Powell/at the limit.jpg": "PhotoFormatError",
        "Colin_Powell/huge.jpg": "PhotoTooLargeError",
        "Colin_Powell/pipe.jpg": "PhotoNotReadableError",
    }


def test_a_photo_that_cannot_be_enrolled_is_reported_and_the_run_continues(
    gallery: Gallery, people: Path, tmp_path: Path
) -> None:
    bush = people / "George_W_Bush"
    (bush / "empty.jpg").write_bytes(b"")
    (bush / "text.jpg").write_text("not a photo")
    (bush / "cut.jpg").write_bytes((bush / "George_W_Bush_0001.jpg").read_bytes()[:4000])
    (bush / "a folder").mkdir()
    (bush / ".hidden").write_text("ignored")
    Image.new("RGB", (200, 200), "grey").save(bush / "nobody.png")
    shutil.copy(people / "Colin_Powell" / "Colin_Powell_0001.jpg", bush / "x another person.jpg")
    report = gallery.enroll_folder(people)
    outcomes = {photo.photo: photo.error for photo in report.photos if photo.outcome == "refused"}
    assert outcomes == {
        "George_W_Bush/a folder": "PhotoNotReadableError",
        "George_W_Bush/cut.jpg": "PhotoFormatError",
        "George_W_Bush/empty.jpg": "PhotoFormatError",
        "George_W_Bush/nobody.png": "NoFaceError",
        "George_W_Bush/text.jpg": "PhotoFormatError",
        "George_W_Bush/x another person.jpg": "FaceOfAnotherUserError",
        "Tony_Blair/Tony_Blair_0001.jpg": "SeveralFacesError",
    }
    assert report.count("enrolled") == 11
    report.write_csv(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(report.photos)
    (other,) = (line for line in lines if line["error"] == "FaceOfAnotherUserError")
    expected = says.FACE_OF_ANOTHER_USER.format(name="Colin Powell")
    assert expected in other["reason"]


def test_a_folder_that_cannot_be_used_is_reported_and_the_run_continues(
    gallery: Gallery, people: Path, tmp_path: Path
) -> None:
    (people / "a file beside.txt").write_text("ignored")
    os.mkdir(os.fsencode(people) + b"/not text \xff")
    (people / "bell \a").mkdir()
    (people / "_").mkdir()
    (people / "Nobody Here").symlink_to(tmp_path / "nowhere")
    report = gallery.enroll_folder(people, face="largest")
    assert report.count("enrolled") == 12
    refused = {photo.photo: photo for photo in report.photos if photo.outcome == "refused"}
    assert {name: (photo.email, photo.error) for name, photo in refused.items()} == {
        "not text \udcff": ("", "GalleryError"),
        "bell \a": ("", "GalleryError"),
        "_": ("", "GalleryError"),
        "Nobody Here": ("nobody-here@pgface.invalid", "PhotoNotReadableError"),
    }
    assert refused["bell \a"].reason == says.NOT_A_NAME.format(name=repr("bell \x07"), longest=255)
    assert refused["Nobody Here"].reason == says.FOLDER_CANNOT_BE_READ.format(
        folder=people / "Nobody Here", reason="No such file or directory"
    )
    report.write_csv(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 16

    (tmp_path / "others" / "_").mkdir(parents=True)
    assert [photo.error for photo in gallery.enroll_folder(tmp_path / "others").photos] == ["GalleryError"]


def test_of_two_folders_with_the_same_face_the_first_is_enrolled(gallery: Gallery, people: Path) -> None:
    shutil.copytree(people / "Colin_Powell", people / "Colin_Powell_again")
    report = gallery.enroll_folder(people)
    assert [photo.photo for photo in report.photos if photo.error == "FaceOfAnotherUserError"] == [
        f"Colin_Powell_again/Colin_Powell_000{number}.jpg" for number in (1, 2, 3)
    ]
    assert "colin-powell-again@pgface.invalid" not in [user.email for user in gallery.users()]
    allowed = gallery.enroll_folder(people, allow_other_user=True)
    assert allowed.count("enrolled") == 3


def test_two_runs_at_the_same_time_enroll_everything_once(gallery: Gallery, settings: Settings, people: Path) -> None:
    with Gallery.open(settings) as other:
        reports = []
        threads = [
            threading.Thread(target=lambda g=g: reports.append(g.enroll_folder(people, face="largest")))
            for g in (gallery, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(report.count("enrolled") + report.count("already enrolled") for report in reports) == [12, 12]
    assert sum(report.count("enrolled") for report in reports) == 12
    assert sum(user.embeddings for user in gallery.users()) == 12


def test_an_existing_user_is_found_by_email_whatever_its_case(gallery: Gallery, people: Path) -> None:
    with gallery.database.transaction() as connection:
        connection.execute("INSERT INTO users (name, email, password) VALUES ('Colin', 'C.Powell@Example.ORG', 'x')")
    (people / "Colin_Powell").rename(people / "c.powell@example.org")
    gallery.enroll_folder(people, face="largest")
    assert next((user.name, user.embeddings) for user in gallery.users()) == ("Colin", 3)
    assert len(gallery.users()) == 4


def test_committed_photos_survive_a_lost_database(
    gallery: Gallery, settings: Settings, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgface.gallery.enroll_folder.BATCH_PHOTOS", 4)
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    name = str(conninfo_to_dict(url)["dbname"])

    def allow_connections(allowed: bool) -> None:
        with psycopg.connect(url, dbname="postgres", autocommit=True) as server:
            statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            server.execute(statement.format(sql.Identifier(name), sql.Literal(allowed)))
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    def disconnect(done: int, _: int) -> None:
        if done == 6:  # after the first batch was committed
            allow_connections(False)

    with pytest.raises(DatabaseUnreachableError):
        gallery.enroll_folder(people, face="largest", on_progress=disconnect)
    allow_connections(True)

    with Gallery.open(settings) as again:
        assert sum(user.embeddings for user in again.users()) == 4
        rows = {again.photo_file(photo) for photo in again.photos()}
        assert set(settings.photos_dir.rglob("*.jpg")) == rows
        report = again.enroll_folder(people, face="largest")
        assert (report.count("enrolled"), report.count("already enrolled")) == (8, 4)
        assert sum(user.embeddings for user in again.users()) == 12


def test_a_folder_without_people(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GalleryError, match=says.NO_PEOPLE_IN_FOLDER.pattern()):
        gallery.enroll_folder(tmp_path / "empty")
    unreadable = says.FOLDER_CANNOT_BE_READ.pattern(folder=tmp_path / "nowhere", reason="No such file or directory")
    with pytest.raises(PhotoNotReadableError, match=unreadable):
        gallery.enroll_folder(tmp_path / "nowhere")


def test_photos_outside_of_a_persons_folder_are_reported(gallery: Gallery, people: Path, photos: Photos) -> None:
    shutil.copy(photos("Colin_Powell", 4), people / "loose.jpg")
    (people / "notes.txt").write_text("not a photo")
    report = gallery.enroll_folder(people, face="largest")
    assert report.count("enrolled") == 12
    (refused,) = (photo for photo in report.photos if photo.outcome == "refused")
    assert (refused.photo, refused.reason) == ("loose.jpg", says.PHOTO_OUTSIDE_OF_A_FOLDER.format())


def test_folders_without_photos_are_an_error(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "people" / "Colin_Powell").mkdir(parents=True)
    with pytest.raises(GalleryError, match=says.NO_PHOTOS_IN_FOLDERS.pattern(folder=tmp_path / "people")):
        gallery.enroll_folder(tmp_path / "people")


def test_two_folders_that_mean_the_same_person(gallery: Gallery, people: Path) -> None:
    (people / "colin powell").mkdir()
    before = contents(gallery)
    both = says.TWO_FOLDERS_ONE_PERSON.pattern(email="colin-powell@pgface.invalid")
    with pytest.raises(GalleryError, match=both):
        gallery.enroll_folder(people)
    assert contents(gallery) == before


@pytest.mark.parametrize(
    ("folder", "email", "name"),
    [
        ("Ariel_Sharon", "ariel-sharon@pgface.invalid", "Ariel Sharon"),
        ("someone@Example.org", "someone@example.org", "someone"),
        ("ariel sharon", "ariel-sharon@pgface.invalid", "ariel sharon"),
        ("O'Brien, Conan", "o-brien-conan-a43b37f6@pgface.invalid", "O'Brien, Conan"),
    ],
)
def test_a_folders_name_is_a_person(folder: str, email: str, name: str) -> None:
    person = person_of(folder)
    assert (person.email, person.name) == (email, name)


def test_names_that_a_slug_cannot_express_stay_different_people() -> None:
    names = "José", "Jose", "Josè", "山田", "山本", "!!!", "???", "C", "C++", "C#", "A B", "A.B", "A-B", "A  B", "-A B"
    emails = {person_of(name).email for name in (*names, "x" * 254, "x" * 255)}
    assert len(emails) == len(names) + 2
    assert all(email.isascii() and email.endswith("@pgface.invalid") and len(email) <= 255 for email in emails)


@pytest.mark.parametrize(("one", "other"), [("José", "JOSÉ"), ("C++", "c++"), ("A_B", "a b"), ("A@X.org", "a@x.org")])
def test_case_and_underscores_do_not_make_another_person(one: str, other: str) -> None:
    assert person_of(one).email == person_of(other).email


def test_dlib_enrolls_in_processes(settings: Settings, faces_dir: Path, tmp_path: Path) -> None:
    with Gallery.create(settings, model="dlib") as gallery:
        assert not gallery.engine.releases_gil
        # Fewer photos, because dlib takes several times as long.
        assert share_identified(gallery, faces_dir, tmp_path / "some", threshold=-1, people=5, photos=2) >= 0.9


def test_sface_identifies_the_other_half(settings: Settings, faces_dir: Path, tmp_path: Path) -> None:
    with Gallery.create(settings, model="sface") as gallery:
        assert gallery.engine.releases_gil
        assert share_identified(gallery, faces_dir, tmp_path / "half") >= 0.99


def test_insightface_identifies_the_other_half(gallery: Gallery, faces_dir: Path, tmp_path: Path) -> None:
    assert share_identified(gallery, faces_dir, tmp_path / "half") >= 0.99


def share_identified(
    gallery: Gallery, faces_dir: Path, enrolled: Path, threshold: float | None = None, people: int = 10, photos: int = 5
) -> float:
    """Enroll some photos of each person, and identify as many others. Return the share of right first matches."""
    folders = sorted(faces_dir.iterdir())[:people]
    for person in folders:
        (enrolled / person.name).mkdir(parents=True)
        for photo in sorted(person.iterdir())[:photos]:
            shutil.copy(photo, enrolled / person.name)
    assert gallery.enroll_folder(enrolled, face="largest").count("enrolled") == people * photos
    right = 0
    for person in folders:
        for photo in sorted(person.iterdir())[-photos:]:
            matches = gallery.identify(photo, threshold=threshold).faces[0].matches
            right += bool(matches) and matches[0].name == person.name.replace("_", " ")
    return right / (people * photos)
