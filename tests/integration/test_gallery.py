"""Enroll, identify, verify and delete real faces."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from pgface import Gallery, Settings
from pgface.database.sql import queries
from pgface.errors import (
    DuplicateEmailError,
    EmbeddingError,
    FaceOfAnotherUserError,
    GalleryError,
    LowQualityError,
    ModelMismatchError,
    ModelNotInstalledError,
    NoFaceError,
    PgfaceError,
    SchemaMissingError,
    SeveralFacesError,
    UnknownPhotoError,
    UnknownUserError,
)
from pgface.faces.engines import load_engine
from pgface.faces.engines.networks import NetworkEngine
from pgface.gallery.photo_batch import PhotoBatch
from pgface.gallery.users import add_user
from support.databases import Databases, Template
from support.galleries import contents, in_both_schemas, one_value
from support.hostile_defaults import OF_THE_ENVIRONMENT, make_hostile
from support.photos import Photos
from support.pictures import bomb
from support.sentences import gallery as says
from support.sentences import photos as says_of_photos

Result = TypeVar("Result")
SCHROEDER, BUSH, POWELL = "Gerhard_Schroeder", "George_W_Bush", "Colin_Powell"


@pytest.fixture(params=["usual defaults", "hostile defaults"])
def database_url(
    request: pytest.FixtureRequest, databases: Databases, template: Template | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Every test passes with any defaults of the database, the role and the environment."""
    url = databases.create(template)
    with monkeypatch.context() as environment:
        if request.param == "hostile defaults":
            make_hostile(url)
            for name, value in OF_THE_ENVIRONMENT.items():
                environment.setenv(name, value)
        yield url
    databases.drop(url)


@in_both_schemas
def test_an_enrolled_person_is_found_again(gallery: Gallery, photos: Photos) -> None:
    enrolled = gallery.enroll(photos(SCHROEDER, 1), "Gerhard@Example.org", name="Gerhard Schroeder")
    gallery.enroll(photos(BUSH, 1), "george@example.org")
    assert enrolled.added
    assert (enrolled.user.name, enrolled.user.email, enrolled.user.photos) == (
        "Gerhard Schroeder",
        "gerhard@example.org",
        1,
    )

    answer = gallery.identify(photos(SCHROEDER, 2))
    (face,) = answer.faces
    assert face.identified
    (match,) = face.matches
    assert (match.user_id, match.name, match.email) == (enrolled.user.id, "Gerhard Schroeder", "gerhard@example.org")
    assert answer.threshold <= match.similarity < 1

    (stranger,) = gallery.identify(photos(POWELL, 1)).faces
    assert not stranger.identified
    assert [m.name for m in gallery.identify(photos(SCHROEDER, 2), threshold=-1, top=5).faces[0].matches] == [
        "Gerhard Schroeder",
        "george",
    ]


@in_both_schemas
def test_sql_gives_the_same_answer_as_numpy(gallery: Gallery) -> None:
    generator = np.random.default_rng(7)
    enrolled = generator.standard_normal((300, 512)).astype(np.float32)
    users = [gallery.add_user(f"user{number}@example.org") for number in range(60)]
    ids = np.array([users[number % 60].id for number in range(300)])
    assert gallery.load_embeddings(ids, enrolled) == 300
    unit = enrolled / np.linalg.norm(enrolled, axis=1, keepdims=True)
    for probe in generator.standard_normal((20, 512)):
        similarity = unit @ (probe / np.linalg.norm(probe))
        best = {user.id: float(similarity[ids == user.id].max()) for user in users}
        expected = sorted((user for user in best if best[user] >= 0.05), key=lambda user: -best[user])[:7]
        found = gallery.identify_embedding(probe, threshold=0.05, top=7)
        assert [match.user_id for match in found] == expected
        assert [match.similarity for match in found] == pytest.approx([best[user] for user in expected], abs=1e-5)
        verified = gallery.verify_embedding(probe, expected[0], threshold=0.05)
        assert verified.similarity == pytest.approx(best[expected[0]], abs=1e-5)


@in_both_schemas
def test_verify_and_compare(gallery: Gallery, photos: Photos) -> None:
    user = gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org").user
    for who in (user.id, "GERHARD@example.org"):
        assert gallery.verify(photos(SCHROEDER, 3), who).match
        assert not gallery.verify(photos(BUSH, 3), who).match
    strict = gallery.verify(photos(SCHROEDER, 3), user.id, threshold=0.99)
    assert (strict.match, strict.threshold) == (False, 0.99)
    assert gallery.compare(photos(SCHROEDER, 3), photos(SCHROEDER, 4)).match
    assert not gallery.compare(photos(SCHROEDER, 3), photos(BUSH, 4)).match
    empty = gallery.add_user("empty@example.org")
    assert gallery.verify(photos(SCHROEDER, 3), empty.id, threshold=-1).to_json() == {
        "match": False,
        "similarity": 0.0,
        "threshold": -1,
        "user_id": empty.id,
        "name": "empty",
        "email": "empty@example.org",
        "confidence": None,
    }


def test_the_same_photo_is_enrolled_once_for_a_user(gallery: Gallery, photos: Photos) -> None:
    first = gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    before = contents(gallery)
    again = gallery.enroll(photos(SCHROEDER, 1).read_bytes(), "gerhard@example.org")
    assert (again.added, again.photo_id, again.face) == (False, first.photo_id, None)
    assert contents(gallery) == before


def test_a_face_of_another_user_is_refused_with_that_users_name(gallery: Gallery, photos: Photos) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org", name="Gerhard Schroeder")
    before = contents(gallery)
    other = says.FACE_OF_ANOTHER_USER.pattern(name="Gerhard Schroeder <gerhard@example.org>")
    with pytest.raises(FaceOfAnotherUserError, match=other):
        gallery.enroll(photos(SCHROEDER, 2), "impostor@example.org")
    assert contents(gallery) == before
    assert gallery.enroll(photos(SCHROEDER, 2), "twin@example.org", allow_other_user=True).added


def test_of_four_users_who_enroll_the_same_face_at_the_same_time_one_is_accepted(
    gallery: Gallery, photos: Photos
) -> None:
    together = Barrier(4)
    assert gallery.engine

    def enroll(number: int) -> bool:
        together.wait()
        try:
            return gallery.enroll(photos(SCHROEDER, number), f"user{number}@example.org").added
        except FaceOfAnotherUserError:
            return False

    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(enroll, (1, 2, 3, 4)))
    assert added.count(True) == 1
    assert [user.embeddings for user in gallery.users()] == [1]


@in_both_schemas
def test_a_photo_of_several_people(gallery: Gallery, group_photo: Path) -> None:
    before = contents(gallery)
    with pytest.raises(SeveralFacesError, match=says_of_photos.SEVERAL_FACES.pattern(count=6)):
        gallery.enroll(group_photo, "someone@example.org")
    too_few = says.OTHER_NUMBER_OF_FACES_THAN_USERS.pattern(faces=6, users=2)
    with pytest.raises(SeveralFacesError, match=too_few):
        gallery.enroll_all(group_photo, ["a@example.org", "b@example.org"])
    with pytest.raises(SeveralFacesError, match=says_of_photos.SEVERAL_FACES.pattern(count=6)):
        gallery.compare(group_photo, group_photo)
    assert contents(gallery) == before

    people = [f"person{number}@example.org" for number in range(6)]
    enrolled = gallery.enroll_all(group_photo, people)
    assert [enrollment.user.email for enrollment in enrolled] == people
    lefts = [enrollment.face.box.x for enrollment in enrolled if enrollment.face]
    assert lefts == sorted(lefts)
    found = sorted(gallery.identify(group_photo).faces, key=lambda face: face.face.box.x)
    assert [face.matches[0].email for face in found] == people
    sizes = [face.face.box.width * face.face.box.height for face in gallery.identify(group_photo).faces]
    assert sizes == sorted(sizes, reverse=True)


def test_the_largest_face_can_be_chosen(gallery: Gallery, group_photo: Path) -> None:
    enrolled = gallery.enroll(group_photo, "largest@example.org", face="largest")
    faces = gallery.identify(group_photo).faces
    assert enrolled.face is not None
    assert enrolled.face.box == faces[0].face.box
    assert [face.identified for face in faces] == [True, False, False, False, False, False]


def test_only_the_crop_is_stored(gallery: Gallery, photos: Photos) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    (photo,) = gallery.photos("gerhard@example.org")
    file = gallery.photo_file(photo)
    with Image.open(file) as crop:
        assert (crop.size, photo.width, photo.height) == ((224, 224), 224, 224)
    assert photo.filename == photos(SCHROEDER, 1).name
    kept = list(gallery.settings.photos_dir.rglob("*.jpg"))
    assert kept == [file]
    assert file.stat().st_mode & 0o077 == 0
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in file.parents[:3])


@in_both_schemas
def test_a_deleted_user_leaves_nothing(gallery: Gallery, photos: Photos) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    gallery.enroll(photos(SCHROEDER, 2), "gerhard@example.org")
    kept = gallery.enroll(photos(BUSH, 1), "george@example.org").user
    with gallery.database.transaction() as connection:
        connection.execute("INSERT INTO auth_tokens (user_id, token, confidence) SELECT id, email, 1 FROM users")
    deleted = gallery.erase_user("gerhard@example.org")
    assert (deleted.email, deleted.photos) == ("gerhard@example.org", 2)
    assert gallery.users() == [replace(kept, photos=1, embeddings=1)]
    assert not gallery.identify(photos(SCHROEDER, 1), threshold=0.3).faces[0].identified
    assert one_value(gallery, "SELECT count(*) FROM auth_tokens") == 1
    assert [photo.user_id for photo in gallery.photos()] == [kept.id]
    files = list(gallery.settings.photos_dir.rglob("*.jpg"))
    assert files == [gallery.photo_file(gallery.photos()[0])]
    assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 0
    with pytest.raises(UnknownUserError, match=says.NO_USER_WITH_EMAIL.pattern(email="gerhard@example.org")):
        gallery.erase_user("gerhard@example.org")


@in_both_schemas
def test_deleting_a_photo_deletes_its_face(gallery: Gallery, photos: Photos) -> None:
    first = gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    gallery.enroll(photos(SCHROEDER, 2), "gerhard@example.org")
    file = gallery.photo_file(gallery.photos()[0])
    gallery.erase_photo(first.photo_id)
    assert not file.exists()
    assert gallery.user("gerhard@example.org").embeddings == 1
    with pytest.raises(UnknownPhotoError, match=says.NO_PHOTO_WITH_ID.pattern(id=first.photo_id)):
        gallery.erase_photo(first.photo_id)


@in_both_schemas
def test_the_next_start_cleans_up_after_a_crash(
    gallery: Gallery, settings: Settings, photos: Photos, tmp_path: Path
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    gallery.enroll(photos(BUSH, 1), "george@example.org")
    first, second = (gallery.photo_file(photo) for photo in gallery.photos())
    incoming = first.parents[1] / "incoming"
    orphan = incoming / "0123456789abcdef0123456789abcdef.jpg"
    orphan.write_bytes(b"written, and never committed")
    first.rename(incoming / first.name)  # committed, and never moved
    outside = tmp_path / "outside.txt"
    outside.write_text("not ours")
    with gallery.database.transaction() as connection:  # deleted by SQL of another program
        connection.execute("DELETE FROM users WHERE email = 'george@example.org'")
        own = "/".join(photo_path(gallery).split("/")[:2])
        for filepath in (str(outside), f"{own}/../../../outside.txt", f"{own}/incoming", f"{own}/../x.jpg"):
            connection.execute(
                "INSERT INTO photos (user_id, filename, filepath) SELECT id, '', %s FROM users", [filepath]
            )
        connection.execute("DELETE FROM photos WHERE filename = ''")

    with Gallery.open(settings) as restarted:
        assert [restarted.photo_file(photo) for photo in restarted.photos()] == [first]
    assert first.exists()
    assert not second.exists()
    assert list(incoming.iterdir()) == []
    assert outside.read_text() == "not ours"
    assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 0


def photo_path(gallery: Gallery) -> str:
    return gallery.photos()[0].filepath


def test_a_crop_is_deleted_by_the_machine_that_has_it(
    gallery: Gallery, settings: Settings, photos: Photos, tmp_path: Path
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    crop = gallery.photo_file(gallery.photos()[0])
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    with Gallery.open(elsewhere, engine=gallery.engine) as other:
        other.enroll(photos(BUSH, 1), "george@example.org")
        other.erase_user("gerhard@example.org")
    Gallery.open(elsewhere).close()
    assert crop.exists()
    Gallery.open(settings).close()
    assert not crop.exists()
    assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 0


def test_a_crop_that_is_deleted_before_its_final_move_is_gone(
    gallery: Gallery, settings: Settings, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = PhotoBatch.publish

    def delete_first(batch: PhotoBatch) -> None:
        gallery.erase_user("gerhard@example.org")
        publish(batch)

    monkeypatch.setattr(PhotoBatch, "publish", delete_first)
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    assert list(settings.photos_dir.rglob("*.jpg")) == []


def test_a_crop_that_is_cleaned_up_before_its_transaction_is_written_again(
    gallery: Gallery, settings: Settings, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")  # writes into a new folder, which is under the lock
    write_early = PhotoBatch.write_early

    def clean_up_then(batch: PhotoBatch) -> None:
        write_early(batch)
        assert len(list(settings.photos_dir.rglob("incoming/*.jpg"))) == 1
        Gallery.open(settings).close()
        assert list(settings.photos_dir.rglob("incoming/*.jpg")) == []

    monkeypatch.setattr(PhotoBatch, "write_early", clean_up_then)
    gallery.enroll(photos(BUSH, 1), "george@example.org")
    assert all(gallery.photo_file(photo).exists() for photo in gallery.photos())
    assert len(list(settings.photos_dir.rglob("*.jpg"))) == 2


def test_the_crop_of_a_photo_that_is_not_enrolled_is_deleted(
    gallery: Gallery, settings: Settings, photos: Photos
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    crops = sorted(settings.photos_dir.rglob("*.jpg"))
    assert not gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org").added
    with pytest.raises(FaceOfAnotherUserError):
        gallery.enroll(photos(SCHROEDER, 2), "george@example.org")
    assert sorted(settings.photos_dir.rglob("*.jpg")) == crops


@in_both_schemas
@pytest.mark.parametrize("how", ["TRUNCATE users CASCADE", "DELETE FROM users", "UPDATE photos SET filepath = 'moved'"])
def test_a_crop_is_deleted_whichever_way_its_row_is(
    gallery: Gallery, settings: Settings, photos: Photos, how: str
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    with gallery.database.transaction() as connection:
        connection.execute(how.encode())
    Gallery.open(settings).close()
    assert list(settings.photos_dir.rglob("*.jpg")) == []


def test_a_file_that_cannot_be_deleted_does_not_stop_the_gallery(
    gallery: Gallery, settings: Settings, photos: Photos, caplog: pytest.LogCaptureFixture
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    crop = gallery.photo_file(gallery.photos()[0])
    crop.unlink()
    crop.mkdir()
    assert gallery.erase_user("gerhard@example.org").photos == 1
    with Gallery.open(settings) as again:
        assert again.users() == []
    assert says.FILE_IS_LEFT_FOR_NEXT_TIME in caplog.text
    assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 1
    crop.rmdir()
    Gallery.open(settings).close()
    assert one_value(gallery, "SELECT count(*) FROM deleted_photo_files") == 0


def test_a_start_during_an_enrollment_does_not_delete_its_files(
    gallery: Gallery, settings: Settings, photos: Photos
) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    incoming = gallery.photo_file(gallery.photos()[0]).parents[1] / "incoming"
    uncommitted = incoming / "0123456789abcdef0123456789abcdef.jpg"
    with gallery.database.transaction() as connection:
        connection.execute(queries()["lock_enrollment"])
        uncommitted.write_bytes(b"its row is not committed yet")
        Gallery.open(settings).close()
        assert uncommitted.exists()
    Gallery.open(settings).close()
    assert not uncommitted.exists()


# The model


def test_a_gallery_of_dlib_opens_without_naming_its_model(settings: Settings, photos: Photos) -> None:
    with Gallery.create(settings, model="dlib") as gallery:
        gallery.enroll(photos("Colin_Powell", 1), "colin@example.org")
    assert settings.model == "sface"
    with Gallery.create(settings) as gallery:
        assert gallery.config.model_name == "dlib"
        (face,) = gallery.identify(photos("Colin_Powell", 2)).faces
        assert face.matches[0].email == "colin@example.org"


@in_both_schemas
def test_a_gallery_stays_with_its_model(gallery: Gallery, settings: Settings, insightface_pack: Path) -> None:
    assert gallery.config.model_name == insightface_pack.name
    with Gallery.open(settings) as again:  # the gallery finds the model by its name
        assert again.engine.identity == gallery.engine.identity
    other_model = says.BOUND_TO_ANOTHER_MODEL.pattern(
        bound="buffalo_sc_q8", dimension=512, alignment_size=128, given="dlib"
    )
    with pytest.raises(ModelMismatchError, match=other_model):
        Gallery.create(settings, model="dlib")
    smaller_search = load_engine(
        str(insightface_pack), models_dir=settings.models_dir, detector_size=320, execution_provider="CPU"
    )
    Gallery.open(settings, engine=smaller_search).close()
    assert isinstance(smaller_search, NetworkEngine)
    other = NetworkEngine(
        smaller_search.detector,
        smaller_search.recogniser,
        replace(smaller_search.identity, alignment_size=256),
        "CPUExecutionProvider",
        measures_pitch=True,
    )
    other_alignment = says.BOUND_TO_ANOTHER_ALIGNMENT_SIZE.pattern(bound=128, given=256)
    with pytest.raises(ModelMismatchError, match=other_alignment):
        Gallery.open(settings, engine=other)
    Gallery.create(settings).close()
    assert gallery.status().model == "buffalo_sc_q8"


def test_a_new_gallery_has_the_thresholds_of_its_model(gallery: Gallery) -> None:
    status = gallery.status()
    assert (status.verify_threshold, status.identify_threshold) == (0.30, 0.40)
    assert (status.search, status.index, status.execution_provider) == ("exact", "hnsw", "CPUExecutionProvider")


@in_both_schemas
@pytest.mark.usefixtures("gallery")
def test_methods_that_need_no_model_work_without_it(settings: Settings, photos: Photos) -> None:
    (settings.models_dir / "buffalo_sc_q8").unlink()
    with Gallery.open(settings) as without:
        without.add_user("a@example.org")
        assert without.status().execution_provider is None
        assert "buffalo_sc_q8" in (without.status().model_problem or "")
        with pytest.raises(PgfaceError, match="buffalo_sc_q8"):
            without.identify(photos(SCHROEDER, 1))


@in_both_schemas
def test_a_gallery_without_a_model_reports_that(settings: Settings, photos: Photos) -> None:
    from pgface.database.pool import initialise

    with pytest.raises(SchemaMissingError, match=says.RUN_INIT.pattern()):
        Gallery.open(settings)
    initialise(settings)
    unbound = says.NOT_BOUND_TO_A_MODEL.pattern()
    with Gallery.open(settings) as gallery, pytest.raises(ModelNotInstalledError, match=unbound):
        gallery.identify(photos(SCHROEDER, 1))


# Refusals


@pytest.mark.parametrize(
    ("embedding", "sentence"),
    [
        (np.ones(511), says.EMBEDDING_OF_ANOTHER_SHAPE.pattern(dimension=512)),
        (np.ones((2, 512)), says.EMBEDDING_OF_ANOTHER_SHAPE.pattern(dimension=512)),
        (np.zeros(512), says.EMBEDDING_IS_ALL_ZERO.pattern(row=0)),
        (np.full(512, np.nan), says.EMBEDDING_IS_NOT_FINITE.pattern(row=0)),
        (np.r_[np.ones(511), np.inf], says.EMBEDDING_IS_NOT_FINITE.pattern(row=0)),
        (["a"] * 512, says.EMBEDDING_OF_ANOTHER_SHAPE.pattern(dimension=512)),
    ],
)
def test_an_embedding_without_a_direction_is_refused(gallery: Gallery, embedding: object, sentence: str) -> None:
    user = gallery.add_user("a@example.org")
    before = contents(gallery)
    for call in (
        lambda: gallery.enroll_embedding(embedding, user.id),
        lambda: gallery.identify_embedding(embedding),
        lambda: gallery.verify_embedding(embedding, user.id),
    ):
        with pytest.raises(EmbeddingError, match=sentence):
            call()
    assert contents(gallery) == before


def test_embeddings_of_any_scale_are_normalised(gallery: Gallery) -> None:
    user = gallery.add_user("a@example.org")
    for scale in (1e-30, 1.0, 1e300):
        gallery.enroll_embedding(np.ones(512) * scale, user.id)
    assert one_value(gallery, "SELECT bool_and(abs(vector_norm(embedding) - 1) < 1e-6) FROM face_embeddings") is True


@in_both_schemas
def test_bulk_loading_is_atomic(gallery: Gallery) -> None:
    user = gallery.add_user("a@example.org")
    embeddings = np.random.default_rng(1).standard_normal((1500, 512))
    before = contents(gallery)
    broken = embeddings.copy()
    broken[1234] = 0
    with pytest.raises(EmbeddingError, match=says.EMBEDDING_IS_ALL_ZERO.pattern(row=1234)):
        gallery.load_embeddings([user.id] * 1500, broken)
    with pytest.raises(UnknownUserError, match=says.USER_OF_EMBEDDING_IS_UNKNOWN.pattern()):
        gallery.load_embeddings([user.id] * 1499 + [987654], embeddings)
    other_number = says.OTHER_NUMBER_OF_USERS_THAN_EMBEDDINGS.pattern(ids=(3,), embeddings=(1500, 512))
    with pytest.raises(EmbeddingError, match=other_number):
        gallery.load_embeddings([user.id] * 3, embeddings)
    assert contents(gallery) == before
    assert gallery.status().index == "hnsw"
    assert gallery.load_embeddings([user.id] * 1500, embeddings) == 1500
    assert gallery.status().index == "hnsw"
    assert gallery.user(user.id).embeddings == 1500


@pytest.mark.parametrize("threshold", [1.5, -1.01, float("nan"), float("inf")])
def test_a_threshold_must_be_a_similarity(gallery: Gallery, threshold: float) -> None:
    user = gallery.add_user("a@example.org")
    with pytest.raises(GalleryError, match=says.THRESHOLD_OUT_OF_RANGE.pattern()):
        gallery.identify_embedding(np.ones(512), threshold=threshold)
    with pytest.raises(GalleryError, match=says.THRESHOLD_OUT_OF_RANGE.pattern()):
        gallery.verify_embedding(np.ones(512), user.id, threshold=threshold)
    with pytest.raises(GalleryError, match=says.TOP_OUT_OF_RANGE.pattern()):
        gallery.identify_embedding(np.ones(512), top=0)


def test_status_reports_weights_of_another_model(gallery: Gallery, settings: Settings) -> None:
    with gallery.database.transaction() as connection:
        connection.execute("UPDATE gallery SET weights_sha256 = repeat('0', 64)")
    with Gallery.open(settings) as other:
        assert says.MODELS_CANNOT_BE_COMPARED in (other.status().model_problem or "")


@pytest.mark.parametrize("email", ["", "a", "a@", "a b@c", "@c", "a@b\n@c", "x" * 250 + "@example.org", "a\0@b"])
def test_an_invalid_email_is_refused(gallery: Gallery, email: str) -> None:
    with pytest.raises(GalleryError, match=says.NOT_AN_EMAIL.pattern()):
        gallery.add_user(email)


@pytest.mark.parametrize("name", ["   ", "x" * 256, "a\0b", "line\nbreak"])
def test_an_invalid_name_is_refused(gallery: Gallery, name: str) -> None:
    with pytest.raises(GalleryError, match=says.NOT_A_NAME.pattern(name="...", longest=255)):
        gallery.add_user("a@example.org", name)
    assert gallery.users() == []


def test_an_email_in_another_case_is_the_same_user(gallery: Gallery) -> None:
    gallery.add_user("a@example.org", "Robert'); DROP TABLE users;--")
    with pytest.raises(DuplicateEmailError, match=says.EMAIL_IS_TAKEN.pattern(email="a@example.org")):
        gallery.add_user(" A@Example.ORG ")
    assert [user.name for user in gallery.users()] == ["Robert'); DROP TABLE users;--"]


@pytest.mark.parametrize("user", [987654, -1, 2**40, "nobody@example.org"])
def test_an_unknown_user(gallery: Gallery, photos: Photos, user: int | str) -> None:
    before = contents(gallery)
    unknown = (
        says.NO_USER_WITH_ID.pattern(id=user) if isinstance(user, int) else says.NO_USER_WITH_EMAIL.pattern(email=user)
    )
    with pytest.raises(UnknownUserError, match=unknown):
        gallery.verify(photos(SCHROEDER, 1), user)
    with pytest.raises(UnknownUserError, match=unknown):
        gallery.erase_user(user)
    if isinstance(user, int):
        with pytest.raises(UnknownUserError, match=unknown):
            gallery.enroll(photos(SCHROEDER, 1), user)
    assert contents(gallery) == before


def test_no_face_and_too_small_a_face_are_refused_with_the_measurements(gallery: Gallery, photos: Photos) -> None:
    before = contents(gallery)
    with pytest.raises(NoFaceError, match=says_of_photos.NO_FACE.pattern(photo="<image>")):
        gallery.enroll(Image.new("RGB", (300, 200), "grey"), "a@example.org")
    small = says_of_photos.FACE_TOO_SMALL.pattern(size="...", limit=40)
    with Image.open(photos(SCHROEDER, 1)) as photo, pytest.raises(LowQualityError, match=small) as refused:
        gallery.enroll(photo.resize((90, 90)), "a@example.org")
    assert re.search(r"\d+ pixels", str(refused.value))
    assert contents(gallery) == before
    assert gallery.identify(Image.new("RGB", (300, 200), "grey")).faces == ()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_every_kind_of_photo_of_a_person_finds_them(gallery: Gallery, photos: Photos) -> None:
    gallery.enroll(photos(SCHROEDER, 1), "gerhard@example.org")
    with Image.open(photos(SCHROEDER, 2)) as opened:
        photo = opened.convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    kinds = {
        "grey": encoded(photo.convert("L"), "PNG"),
        "palette": encoded(photo.convert("P"), "PNG"),
        "alpha": encoded(photo.convert("RGBA"), "PNG"),
        "cmyk": encoded(photo.convert("CMYK"), "JPEG"),
        "16-bit grey": encoded(grey16, "PNG"),
        "gif": encoded(photo, "GIF"),
        "webp": encoded(photo, "WEBP"),
        "tiff": encoded(photo, "TIFF"),
        "exif": encoded(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif),
        "on its left side": encoded(photo.transpose(Image.Transpose.ROTATE_90), "PNG"),
        "on its head": encoded(photo.transpose(Image.Transpose.ROTATE_180), "PNG"),
        "on its right side": encoded(photo.transpose(Image.Transpose.ROTATE_270), "PNG"),
        "array": np.asarray(photo),
        "image": photo,
        "path as text": str(photos(SCHROEDER, 2)),
    }
    found = {kind: gallery.identify(data).faces for kind, data in kinds.items()}  # type: ignore[arg-type]
    assert {kind: [match.email for face in faces for match in face.matches] for kind, faces in found.items()} == {
        kind: ["gerhard@example.org"] for kind in kinds
    }


NO_FACE = says_of_photos.NO_FACE.format(photo="<bytes>")
BAD_PHOTOS: dict[str, tuple[Callable[[], object], str, str]] = {
    "empty": (lambda: b"", "PhotoFormatError", says_of_photos.EMPTY_FILE.format(photo="<bytes>")),
    "text": (
        lambda: b"this is no photo" * 100,
        "PhotoFormatError",
        says_of_photos.NOT_A_PHOTO.format(photo="<bytes>", size=1_600),
    ),
    "one pixel": (lambda: encoded(Image.new("RGB", (1, 1)), "PNG"), "NoFaceError", NO_FACE),
    "a line": (lambda: encoded(Image.new("RGB", (1, 4000)), "PNG"), "NoFaceError", NO_FACE),
    "another line": (lambda: encoded(Image.new("RGB", (4000, 1)), "PNG"), "NoFaceError", NO_FACE),
    "a bomb": (
        bomb,
        "PhotoTooLargeError",
        says_of_photos.TOO_MANY_PIXELS.format(photo="<bytes>", size="20000×20000", megapixels="400.0", limit="64.0"),
    ),
    "too many bytes": (
        lambda: b"\xff\xd8\xff" + bytes(31 * 1024 * 1024),
        "PhotoTooLargeError",
        says_of_photos.TOO_MANY_BYTES.format(photo="<bytes>", size=32_505_859, limit=31_457_280),
    ),
    "wrong array": (
        lambda: np.zeros((4, 4), np.uint8),
        "PhotoFormatError",
        says_of_photos.ARRAY_IS_NOT_RGB.format(photo="<image>", shape="4×4", type="uint8"),
    ),
    "float array": (
        lambda: np.zeros((4, 4, 3), np.float32),
        "PhotoFormatError",
        says_of_photos.ARRAY_IS_NOT_RGB.format(photo="<image>", shape="4×4×3", type="float32"),
    ),
    "folder": (
        lambda: Path(__file__).parent,
        "PhotoNotReadableError",
        says_of_photos.FOLDER_IS_NO_PHOTO.format(photo=Path(__file__).parent.name),
    ),
    "nowhere": (
        lambda: Path(__file__).with_name("nowhere.jpg"),
        "PhotoNotReadableError",
        says_of_photos.FILE_CANNOT_BE_READ.format(photo="nowhere.jpg", reason="No such file or directory"),
    ),
}


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_a_bad_photo_is_refused_and_changes_nothing(gallery: Gallery, kind: str) -> None:
    make, error, sentence = BAD_PHOTOS[kind]
    before = contents(gallery)
    with pytest.raises(PgfaceError) as refused:
        gallery.enroll(make(), "new@example.org")  # type: ignore[arg-type]
    assert type(refused.value).__name__ == error
    assert sentence in str(refused.value)
    assert contents(gallery) == before


def test_a_truncated_photo_is_refused_and_changes_nothing(gallery: Gallery, photos: Photos) -> None:
    before = contents(gallery)
    damaged = says_of_photos.DAMAGED_FILE.pattern(photo="<bytes>", kind="JPEG")
    with pytest.raises(PgfaceError, match=damaged):
        gallery.enroll(photos(SCHROEDER, 1).read_bytes()[:5000], "new@example.org")
    assert contents(gallery) == before


def during_addition_elsewhere(gallery: Gallery, email: str, call: Callable[[], Result]) -> Future[Result]:
    """Run a call that waits for another connection to add this e-mail and commit. Return the future of the call."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'transactionid'"
    )
    with ThreadPoolExecutor(1) as thread, gallery.database.transaction() as connection:
        add_user(connection, email, "Added elsewhere")
        future = thread.submit(call)
        deadline = time.monotonic() + 60
        while not one_value(gallery, waiting):
            assert not future.done(), future.exception()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    return future


def test_an_email_that_two_sessions_add_at_the_same_time_is_one_user(
    gallery: Gallery, photos: Photos, tmp_path: Path
) -> None:
    enrolled = during_addition_elsewhere(gallery, "a@x.org", lambda: gallery.enroll(photos(SCHROEDER, 1), "A@x.org"))
    assert (enrolled.result().user.name, enrolled.result().user.photos) == ("Added elsewhere", 1)

    for person in (BUSH, POWELL):
        (tmp_path / "people" / person).mkdir(parents=True)
        shutil.copy(photos(person, 1), tmp_path / "people" / person)
    report = during_addition_elsewhere(
        gallery, "george-w-bush@pgface.invalid", lambda: gallery.enroll_folder(tmp_path / "people")
    )
    assert report.result().count("enrolled") == 2

    again = during_addition_elsewhere(gallery, "b@x.org", lambda: gallery.add_user("b@x.org"))
    assert isinstance(again.exception(), DuplicateEmailError)
    assert {user.email: (user.name, user.embeddings) for user in gallery.users()} == {
        "a@x.org": ("Added elsewhere", 1),
        "b@x.org": ("Added elsewhere", 0),
        "colin-powell@pgface.invalid": ("Colin Powell", 1),
        "george-w-bush@pgface.invalid": ("Added elsewhere", 1),
    }


def test_two_faces_of_a_photo_cannot_be_one_user(gallery: Gallery, group_photo: Path) -> None:
    known = gallery.add_user("known@example.org")
    others = [f"person{number}@example.org" for number in range(4)]
    before = contents(gallery)
    all_of_one = says.TWO_FACES_ONE_USER.pattern(first=1, second=2, email="g1@x.org")
    with pytest.raises(GalleryError, match=all_of_one):
        gallery.enroll_all(group_photo, ["g1@x.org"] * 6)
    two_of_one = says.TWO_FACES_ONE_USER.pattern(first=3, second=6, email="known@example.org")
    with pytest.raises(GalleryError, match=two_of_one):
        gallery.enroll_all(group_photo, [*others[:2], known.id, *others[2:], "Known@Example.org"])
    assert contents(gallery) == before
