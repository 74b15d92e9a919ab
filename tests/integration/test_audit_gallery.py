"""`pgface audit-gallery` and the commands that fix a gallery, on real photos."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from psycopg import Connection

from pgface.database.pool import Database
from pgface.database.sql import queries
from pgface.errors import GalleryError, UnknownUserError
from pgface.evaluation.audit_gallery import audit
from pgface.evaluation.run import audit_gallery, evaluate_gallery
from pgface.evaluation.stored_embeddings import stored_embeddings
from pgface.gallery import Gallery
from support.commands import Run
from support.photos import Photos
from support.sentences import evaluation as evaluation_says
from support.sentences import gallery as says


@pytest.fixture
def untidy(gallery: Gallery, photos: Photos) -> Gallery:
    """Powell as two users, a photo of Bush that is enrolled for Sharon, and Chavez with a single photo."""

    def enroll(person: str, number: int, email: str) -> None:
        gallery.enroll(photos(person, number), email, face="largest", allow_other_user=True)

    for number in (1, 2, 3):
        enroll("Colin_Powell", number, "powell@example.org")
        enroll("George_W_Bush", number, "bush@example.org")
        enroll("Ariel_Sharon", number, "sharon@example.org")
    enroll("Colin_Powell", 4, "colin@example.org")
    enroll("Colin_Powell", 5, "colin@example.org")
    enroll("George_W_Bush", 4, "sharon@example.org")
    enroll("Hugo_Chavez", 1, "chavez@example.org")
    return gallery


def test_the_commands_of_an_audit_fix_the_gallery(run: Run, untidy: Gallery, tmp_path: Path) -> None:
    found = json.loads(run("audit-gallery", "--json").stdout)
    same = {tuple(each["emails"]): each["command"] for each in found["same_person"]}
    assert set(same) == {("powell@example.org", "colin@example.org"), ("bush@example.org", "sharon@example.org")}
    (strange,) = found["strange"]
    assert (strange["email"], strange["looks_like"]["email"]) == ("sharon@example.org", "bush@example.org")
    assert strange["photo"] in [each["photo"] for each in found["dragging"]]
    assert [each["email"] for each in found["single"]] == ["chavez@example.org"]
    printed = run("audit-gallery", "--html", tmp_path / "audit.html").stdout
    assert strange["command"] in printed
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert (tmp_path / "audit.html").stat().st_mode & 0o077 == 0
    assert not re.search(r"(src|href)=\"(?!data:image/jpeg;base64,)", page)
    assert page.count("<img") >= 7
    assert says.NO_PICTURE not in page
    for command in (strange["command"], same["powell@example.org", "colin@example.org"]):
        assert f"<code>{command}</code>" in page
        run(*command.split()[1:], "--yes")
    assert len(untidy.photos("powell@example.org")) == 5
    again = json.loads(run("audit-gallery", "--json").stdout)
    assert again["same_person"] == again["strange"] == []


def test_a_tidy_gallery(run: Run, gallery: Gallery, photos: Photos) -> None:
    assert evaluation_says.NO_PERSON_IS_ENROLLED_YET in run("audit-gallery", code=1).stderr
    for number in (1, 2):
        gallery.enroll(photos("Colin_Powell", number), "powell@example.org", face="largest")
    assert says.NOTHING_WAS_FOUND in run("audit-gallery").stdout


def test_embeddings_of_any_norm_and_paths_that_are_not_crops(gallery: Gallery, connection: Connection) -> None:
    first, second = gallery.add_user("a@example.org"), gallery.add_user("b@example.org")
    for user, number in ((first, 1), (first, 2), (second, 3)):
        connection.execute(
            "INSERT INTO face_embeddings (user_id, embedding) VALUES (%s, array_fill(%s::real, ARRAY[512])::vector)",
            (user.id, float(number)),
        )
    connection.execute(
        "INSERT INTO photos (user_id, filename, filepath) VALUES (%s, 'x.jpg', '../../etc/x.jpg')", (first.id,)
    )
    connection.execute(
        "UPDATE face_embeddings SET photo_id = (SELECT max(id) FROM photos) WHERE user_id = %s", (first.id,)
    )
    with Database.open(gallery.settings) as database:
        stored = stored_embeddings(database, gallery.settings.photos_dir, gallery.config.id)
    assert np.allclose(np.linalg.norm(stored.embeddings, axis=1), 1)
    assert {face.file for face in stored.photos} == {Path()}
    (same,) = audit(stored, verify_threshold=0.3, identify_threshold=0.4).same_person
    assert same.similarity == pytest.approx(1)
    evaluate_gallery(gallery.settings)  # a similarity that rounding takes above 1 is no error


def test_the_command_for_an_embedding_without_a_photo_names_the_schema(gallery: Gallery) -> None:
    user = gallery.add_user("a@example.org")
    for embedding in np.eye(2, 512):
        gallery.enroll_embedding(embedding, user.id)
    commands = [strange.command for strange in audit_gallery(gallery.settings).strange]
    schema = gallery.settings.schema_name.replace('"', '""')
    assert commands == [f'DELETE FROM "{schema}".face_embeddings WHERE id = {n}; -- in psql' for n in (1, 2)]


def test_merging_waits_for_an_enrollment(gallery: Gallery, photos: Photos) -> None:
    user = gallery.enroll(photos("Colin_Powell", 1), "colin@example.org").user
    kept = gallery.add_user("powell@example.org")
    with Database.open(gallery.settings) as database, ThreadPoolExecutor(1) as executor:
        with database.transaction() as connection:
            connection.execute(queries()["lock_enrollment"])
            connection.execute(
                "INSERT INTO face_embeddings (user_id, embedding) VALUES (%s, array_fill(1::real, ARRAY[512])::vector)",
                (user.id,),
            )
            merging = executor.submit(gallery.merge_users, user.id, kept.id)
            time.sleep(0.5)
            assert not merging.done()
        assert merging.result(10).embeddings == 2


def test_merging_keeps_one_of_two_equal_photos(gallery: Gallery, photos: Photos) -> None:
    kept = gallery.enroll(photos("Colin_Powell", 1), "powell@example.org").user
    gallery.enroll(photos("Colin_Powell", 1), "colin@example.org", allow_other_user=True)
    other = gallery.enroll(photos("Colin_Powell", 2), "colin@example.org", allow_other_user=True).user
    gallery.enroll_embedding(np.eye(512)[0], other.id)
    files = [gallery.photo_file(photo) for photo in gallery.photos()]
    merged = gallery.merge_users(other.id, "powell@example.org")
    assert (merged.id, merged.photos, merged.embeddings) == (kept.id, 2, 3)
    assert [file.exists() for file in files] == [True, False, True]
    assert [match.user_id for match in gallery.identify_embedding(np.eye(512)[0])] == [kept.id]
    (face,) = gallery.identify(photos("Colin_Powell", 2)).faces
    assert [match.user_id for match in face.matches] == [kept.id]
    with pytest.raises(UnknownUserError, match=says.NO_USER_WITH_ID.pattern(id=other.id)):
        gallery.user(other.id)


def test_merging_needs_two_users(gallery: Gallery, photos: Photos) -> None:
    user = gallery.enroll(photos("Colin_Powell", 1), "powell@example.org").user
    with pytest.raises(GalleryError, match=says.MERGED_WITH_ITSELF.pattern()):
        gallery.merge_users(user.id, "powell@example.org")
    with pytest.raises(UnknownUserError):
        gallery.merge_users(user.id, "unknown@example.org")
    assert gallery.user(user.id).photos == 1
