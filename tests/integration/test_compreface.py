"""The door for CompreFace's clients: subjects, examples, recognition, verification, detection, and its wire format."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from psycopg import Connection

from pgface.accounts import read_audit, subjects
from pgface.database.pool import Database
from pgface.gallery.events import last_event_cursor
from pgface.search.fit import fit_search
from pgface.server.compat.compreface.similarity import scale_of
from pgface.settings import MEBI
from support.compreface import UNKNOWN_ID, Caller, caller
from support.embedded_server import eventually
from support.galleries import rows
from support.photos import Photos
from support.searched_gallery import SCAN, text
from support.web_service import Served, base64_of, file

NO_FACE = (400, 28, "No face is found in the given image")
SEVERAL = (400, 31, "More than one face in the source image")
UNDEFINED = (400, 0, "Something went wrong, please try again")


@pytest.fixture
def recognition(api: Served) -> Caller:
    return caller(api)


def blank(side: int = 200) -> bytes:
    """A picture without a face."""
    return bytes_of(Image.new("RGB", (side, side), "white"))


def bytes_of(picture: Image.Image) -> bytes:
    """A picture as a file."""
    written = BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def cosine(api: Served, one: Path, other: Path) -> float:
    return api.gallery.compare(one, other, threshold=-1).similarity


# Subjects


def test_subjects(recognition: Caller) -> None:
    assert recognition.done("POST", "/subjects", 201, json={"subject": "Ada Lovelace"}) == {"subject": "Ada Lovelace"}
    assert recognition.error("POST", "/subjects", json={"subject": "ADA lovelace"}) == (
        400,
        43,
        "Subject already exists",
    )
    recognition.done("POST", "/subjects", 201, json={"subject": "Zoe\N{COMBINING DIAERESIS}"})
    assert recognition.error("POST", "/subjects", json={"subject": "zoë"}) == (400, 43, "Subject already exists")
    assert recognition.done("GET", "/subjects/") == {"subjects": ["Ada Lovelace", "Zoë"]}
    # The Python SDK sends another field with it.
    for new, updated in (("Ada Lovelace", False), ("ada lovelace", True), ("Countess", True)):
        old = recognition.done("GET", "/subjects")["subjects"][0]
        body = {"subject": new, "api_endpoint": old}
        assert recognition.done("PUT", f"/subjects/{old}", json=body) == {"updated": updated}
    missing = (404, 42, "Subject Ada Lovelace not found")
    assert recognition.error("PUT", "/subjects/Ada Lovelace", json={"subject": "x"}) == missing
    assert recognition.error("DELETE", "/subjects/Ada Lovelace") == missing
    assert recognition.done("DELETE", "/subjects/COUNTESS") == {"subject": "Countess"}
    assert recognition.done("DELETE", "/subjects") == {"deleted": 1}
    assert recognition.done("GET", "/subjects") == {"subjects": []}


@pytest.mark.parametrize(
    ("subject", "error"),
    [
        (None, (400, 26, "Subject name cannot be empty")),
        (" ", (400, 26, "Subject name cannot be empty")),
        ("x" * 51, (400, 26, "Subject name size must be between 1 and 50")),
        (
            "a/b",
            (400, 36, "The name cannot contain the following special characters: ';', '/', '\\'"),
        ),
        (7, UNDEFINED),
        ("a\0b", UNDEFINED),
    ],
)
def test_names_that_are_refused(recognition: Caller, subject: Any, error: tuple[int, int, str]) -> None:
    assert recognition.error("POST", "/subjects", json={"subject": subject}) == error
    assert recognition.done("GET", "/subjects") == {"subjects": []}


def test_a_new_name_that_another_subject_has_merges_both(recognition: Caller, photos: Photos) -> None:
    first = recognition.add("Tony", photos("Tony_Blair", 2).read_bytes())
    second = recognition.add("Anthony", photos("Tony_Blair", 3).read_bytes())
    assert recognition.done("PUT", "/subjects/tony", json={"subject": "ANTHONY"}) == {"updated": True}
    assert recognition.done("GET", "/subjects") == {"subjects": ["Anthony"]}
    faces = recognition.done("GET", "/faces")["faces"]
    assert faces == [{"image_id": one, "subject": "Anthony"} for one in (first, second)]


def test_names_with_spaces_and_slashes(recognition: Caller, photos: Photos) -> None:
    """A name is cleaned as that of every user, and found as it was sent."""
    recognition.done("POST", "/subjects", 201, json={"subject": " Tony\N{ZERO WIDTH SPACE} "})
    assert recognition.error("POST", "/subjects", json={"subject": "tony"})[1] == 43
    photo = photos("Tony_Blair", 2).read_bytes()
    for name in (" Tony", "a/b/", "%2F"):
        recognition.add(name, photo)
    assert recognition.done("GET", "/subjects") == {"subjects": ["Tony", "a/b/", "%2F"]}
    assert recognition.done("GET", "/faces", params={"subject": "Tony "})["total_elements"] == 1
    assert recognition.done("PUT", "/subjects/a/b%2F/", json={"subject": "c"}) == {"updated": True}
    assert recognition.done("DELETE", "/subjects/%20TONY") == {"subject": "Tony"}
    for name in ("x" * 256, " " * 256, "a\tb", "\N{RIGHT-TO-LEFT OVERRIDE}b"):
        status, code, message = recognition.error(
            "POST", "/faces", params={"subject": name}, files={"file": file(photo)}
        )
        assert (status, code) == (400, 26)
        assert "PostgreSQL" not in message
    # A name that is empty by mistake, or a path that the client has shortened, deletes nothing.
    for path in ("/subjects/", "/faces/"):
        assert recognition.error("DELETE", path) == (404, 0, "Request method 'DELETE' not supported")
    assert recognition.done("GET", "/subjects") == {"subjects": ["c", "%2F"]}


def test_changes_of_the_same_subjects_at_the_same_time(api: Served, recognition: Caller, photos: Photos) -> None:
    """Every change is done whole and once, or refused because there is no such subject."""
    pictures = [photos("Tony_Blair", number).read_bytes() for number in (2, 3, 4)]
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("DELETE", "/subjects/Tony", {}),
        ("PUT", "/subjects/Tony", {"json": {"subject": "Bob"}}),
        ("PUT", "/subjects/Bob", {"json": {"subject": "Tony"}}),
        ("DELETE", "/faces?subject=Bob", {}),
        ("DELETE", "/subjects", {}),
    ]

    def add(number: int) -> str:
        return recognition.add("Tony", pictures[number % 3] + bytes([number]))

    def change(number: int) -> tuple[int, int | None]:
        method, path, arguments = requests[number % len(requests)]
        answer = recognition.send(method, path, **arguments)
        return answer.status_code, answer.json().get("code")

    with ThreadPoolExecutor(8) as threads:
        changed = threads.map(change, range(60))
        assert len(set(threads.map(add, range(24)))) == 24
        assert set(changed) <= {(200, None), (404, 42)}
        recognition.done("DELETE", "/subjects")
        assert not api.execute("SELECT FROM face_embeddings UNION ALL SELECT FROM users UNION ALL SELECT FROM photos")
        ids = list(threads.map(add, range(8)))
        assert recognition.done("GET", "/subjects") == {"subjects": ["Tony"]}
        (newest, *_) = read_audit(api.owner.database)
        for path, once in ((f"/faces/{ids[0]}", "photo deleted"), ("/subjects/Tony", "user deleted")):
            answers = threads.map(lambda _, path=path: recognition.send("DELETE", path).status_code, range(8))
            assert sorted(answers) == [200] + [404] * 7
            assert next(iter(read_audit(api.owner.database))).event == once
        assert [entry.event for entry in read_audit(api.owner.database) if entry.id > newest.id] == [
            "user deleted",
            "photo deleted",
        ]
    assert not [path for path in api.gallery.settings.photos_dir.rglob("*.jpg") if path.is_file()]


def test_only_users_with_an_external_id_are_subjects(api: Served, recognition: Caller, photos: Photos) -> None:
    """Others are not found, even if they are the most similar. A user with an e-mail outlives the subject."""
    api.gallery.enroll(photos("Tony_Blair", 2), "hidden@example.org")
    other = api.gallery.enroll(photos("Colin_Powell", 2), "colin@example.org").user
    recognition.add("Tony", photos("Tony_Blair", 3).read_bytes())
    assert recognition.done("GET", "/subjects") == {"subjects": ["Tony"]}
    api.execute("UPDATE users SET external_id = 'employee-7' WHERE id = %s", other.id)
    body = {"file": base64_of(photos("Colin_Powell", 3).read_bytes())}
    (face,) = recognition.done("POST", "/recognize?prediction_count=5", json=body)["result"]
    assert [one["subject"] for one in face["subjects"]] == ["employee-7", "Tony"]
    assert recognition.done("GET", "/faces")["total_elements"] == 2
    assert recognition.done("DELETE", "/subjects/Employee-7") == {"subject": "employee-7"}
    left = api.gallery.user(other.id)
    assert (left.email, left.photos, left.embeddings) == ("colin@example.org", 0, 0)
    assert recognition.done("GET", "/subjects") == {"subjects": ["Tony"]}


# Examples


def test_examples(api: Served, recognition: Caller, photos: Photos) -> None:
    one, two = photos("Tony_Blair", 2).read_bytes(), photos("Tony_Blair", 3).read_bytes()
    first, second = recognition.add("Tony", one), recognition.add("tony", two)
    assert recognition.add("Tony", one) == first  # it has this photo already
    other = recognition.add("Colin/Powell?;&+", photos("Colin_Powell", 2).read_bytes())
    assert recognition.done("GET", "/subjects") == {"subjects": ["Tony", "Colin/Powell?;&+"]}
    page = recognition.done("GET", "/faces?page=1&size=2")
    assert page.pop("faces") == [{"image_id": other, "subject": "Colin/Powell?;&+"}]
    assert page == {"page_number": 1, "page_size": 2, "total_pages": 2, "total_elements": 3}
    listed = recognition.done("GET", "/faces", params={"subject": "Tony", "size": "x", "page": "-1"})
    assert [face["image_id"] for face in listed["faces"]] == [first, second]
    assert listed["page_size"] == 20
    assert recognition.done("GET", "/faces?subject=tony")["faces"] == []  # the only place where case matters
    for picture in (
        recognition.send("GET", f"/faces/{first}/img"),
        api.client.get(f"/api/v1/static/{recognition.key}/images/{first}"),
    ):
        assert picture.headers["content-type"] == "application/octet-stream"
        assert picture.headers["cache-control"] == "no-store"
        assert Image.open(BytesIO(picture.content)).size == (224, 224)
    assert recognition.send("GET", f"/faces/{UNKNOWN_ID}/img").content == b""
    assert recognition.done("DELETE", f"/faces/{first}") == {"image_id": first, "subject": "Tony"}
    assert recognition.error("DELETE", f"/faces/{first}") == (404, 44, f"Image {first} not found")
    deleted = recognition.done("POST", "/faces/delete", json=[second, UNKNOWN_ID, second])
    assert deleted == [{"image_id": second, "subject": "Tony"}]
    assert recognition.done("GET", "/subjects")["subjects"][0] == "Tony"  # subjects stay
    assert recognition.done("DELETE", "/faces", params={"subject": "colin/powell?;&+"}) == {"deleted": 1}
    assert recognition.done("DELETE", "/faces?subject=Unknown") == {"deleted": 0}
    assert recognition.done("GET", "/subjects") == {"subjects": ["Tony"]}
    assert recognition.done("DELETE", "/faces") == {"deleted": 0}
    assert recognition.done("GET", "/subjects") == {"subjects": []}
    assert not [path for path in api.gallery.settings.photos_dir.rglob("*.jpg") if path.is_file()]


def test_the_audit_log_has_the_changes(api: Served, recognition: Caller, photos: Photos) -> None:
    before = {entry.id for entry in read_audit(api.owner.database)}
    example = recognition.add("Tony", photos("Tony_Blair", 2).read_bytes())
    recognition.done("DELETE", f"/faces/{example}")
    recognition.done("PUT", "/subjects/Tony", json={"subject": "Anthony"})
    recognition.done("DELETE", "/subjects/Anthony")
    added = [entry for entry in read_audit(api.owner.database) if entry.id not in before]
    assert [entry.event for entry in reversed(added)] == [
        "user added",
        "photo enrolled",
        "photo deleted",
        "user changed",
        "user deleted",
    ]
    assert {str(entry.actor).partition(" ")[0] for entry in added} == {"key"}


# Faces of images


def test_recognition(api: Served, recognition: Caller, photos: Photos) -> None:
    probe, enrolled = photos("Tony_Blair", 4), [photos("Tony_Blair", 2), photos("Tony_Blair", 3)]
    for photo in enrolled:
        recognition.add("Tony", photo.read_bytes())
    recognition.add("Colin", photos("Colin_Powell", 2).read_bytes())
    upload = {"file": file(probe.read_bytes())}
    (face,) = recognition.done("POST", "/recognize", files=upload)["result"]
    assert face.keys() == {"box", "subjects"}  # what was not asked for is left out, not null
    assert face["box"].keys() == {"probability", "x_min", "x_max", "y_min", "y_max"}
    assert face["box"]["probability"] == round(face["box"]["probability"], 5)
    assert all(isinstance(face["box"][side], int) for side in ("x_min", "x_max", "y_min", "y_max"))
    # The most similar examples, of which several can be of one subject.
    scale = scale_of(api.gallery.config.anchors)
    expected = sorted((scale.similarity(cosine(api, probe, photo)) for photo in enrolled), reverse=True)
    path = "/recognize?prediction_count=3&status=true&face_plugins=calculator,landmarks,pose,age,gender,mask,unknown"
    body = recognition.done("POST", path, files=upload)
    (face,) = body["result"]
    assert [one["subject"] for one in face["subjects"]] == ["Tony", "Tony", "Colin"]
    assert [one["similarity"] for one in face["subjects"][:2]] == pytest.approx(expected, abs=2e-5)
    assert face["subjects"][2]["similarity"] < 0.5 < face["subjects"][1]["similarity"]
    assert face.keys() == {"box", "subjects", "embedding", "landmarks", "pose", "execution_time"}
    assert len(face["landmarks"]) == 5
    assert face["pose"].keys() <= {"pitch", "roll", "yaw"}
    assert face["execution_time"].keys() == {"detector", "calculator"}
    assert body["plugins_versions"].keys() == {"detector", "calculator", "landmarks", "pose"}
    (exact,) = api.gallery.faces(probe)
    assert face["embedding"] == pytest.approx(exact.embedding.tolist(), abs=1e-8)
    # The image is the crop of a face.
    (crop,) = recognition.done("POST", "/recognize?detect_faces=false", files=upload)["result"]
    assert crop["box"] == {"probability": 1.0, "x_max": 250, "y_max": 250, "x_min": 0, "y_min": 0}
    assert crop["subjects"] == face["subjects"][:1]


def test_recognition_without_examples(recognition: Caller, photos: Photos) -> None:
    (face,) = recognition.done("POST", "/recognize", files={"file": file(photos("Tony_Blair", 4).read_bytes())})[
        "result"
    ]
    assert face["subjects"] == []


def test_searches_add_events_with_the_setting(
    api: Served, recognition: Caller, photos: Photos, group_photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of pgface's own API. A comparison of two images concerns no user, so it adds none."""
    tony = recognition.add("Tony", photos("Tony_Blair", 2).read_bytes())
    recognition.add("Colin", photos("Colin_Powell", 2).read_bytes())
    (tony_id,), (colin_id,) = api.execute("SELECT id FROM users ORDER BY id")
    probe, group = file(photos("Tony_Blair", 3).read_bytes()), file(group_photo.read_bytes())
    embedding = api.gallery.faces(photos("Colin_Powell", 3))[0].embedding.tolist()
    given = {"embeddings": [embedding, [-number for number in embedding]]}
    verification = caller(api, "verification")

    def search() -> None:
        recognition.done("POST", "/recognize?prediction_count=2", files={"file": probe})
        recognition.done("POST", "/recognize?limit=2", files={"file": group})
        recognition.done("POST", "/embeddings/recognize", json=given)
        recognition.done("POST", f"/faces/{tony}/verify", files={"file": probe})
        recognition.done("POST", f"/embeddings/faces/{tony}/verify", json=given)
        verification.done("POST", "/verify", files={"source_image": probe, "target_image": group})
        verification.done("POST", "/embeddings/verify", json={"source": embedding, "targets": given["embeddings"]})

    start = last_event_cursor(api.gallery.database)
    search()
    assert last_event_cursor(api.gallery.database) == start
    monkeypatch.setattr(api.gallery, "_settings", api.gallery.settings.model_copy(update={"search_events": True}))
    search()
    assert eventually(lambda: len(api.gallery.events(after=start)) == 8)
    found = api.gallery.events(after=start)
    assert [(event.kind, event.user_id, event.matched) for event in found] == [
        ("identified", tony_id, True),
        ("identified", None, False),
        ("identified", None, False),
        ("identified", colin_id, True),
        ("identified", None, False),
        ("verified", tony_id, True),
        ("verified", tony_id, False),
        ("verified", tony_id, False),
    ]
    similarity = cosine(api, photos("Tony_Blair", 2), photos("Tony_Blair", 3))
    assert [event.confidence for event in found if event.matched and event.user_id == tony_id] == [
        pytest.approx(api.gallery.confidence(similarity), abs=0.01)
    ] * 2
    assert {event.confidence for event in found if not event.matched} == {None}
    api.execute("ALTER TABLE gallery_events RENAME TO other")
    try:
        status, code, _ = recognition.error("POST", "/recognize", files={"file": probe})
    finally:
        api.execute("ALTER TABLE other RENAME TO gallery_events")
    assert (status, code) == (503, 41)  # no search without its event


def test_a_face_in_the_background_is_no_second_face(
    api: Served, recognition: Caller, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example follows PGFACE_BACKGROUND_FACE, as every other enrollment."""
    large, small = (Image.open(photos(name, 2)) for name in ("Tony_Blair", "Colin_Powell"))
    picture = Image.new("RGB", (1000, 600), "white")
    picture.paste(large.resize((600, 600)), (0, 0))
    picture.paste(small.resize((240, 240)), (700, 100))
    upload = {"file": file(bytes_of(picture), "two.png")}
    assert len(caller(api, "detection").done("POST", "/detect", files=upload)["result"]) == 2
    recognition.done("POST", "/faces?subject=Tony", 201, files=upload)
    strict = api.gallery.settings.model_copy(update={"background_face": 0})
    monkeypatch.setattr(api.gallery, "_settings", strict)
    assert recognition.error("POST", "/faces?subject=Other", files=upload) == SEVERAL


def test_several_faces(api: Served, recognition: Caller, group_photo: Path, photos: Photos) -> None:
    upload = {"file": file(group_photo.read_bytes())}
    detection, verification = caller(api, "detection"), caller(api, "verification")
    faces = detection.done("POST", "/detect", files=upload)["result"]
    areas = [(box["x_max"] - box["x_min"]) * (box["y_max"] - box["y_min"]) for box in (face["box"] for face in faces)]
    assert len(faces) == 6
    assert all(area > 0.98 * following for area, following in pairwise(areas))  # corners are rounded
    assert {frozenset(face) for face in faces} == {frozenset({"box"})}
    assert detection.done("POST", "/detect?limit=2", files=upload)["result"] == faces[:2]
    sure = sorted(face["box"]["probability"] for face in faces)[3]
    # Only a greater probability passes.
    assert len(detection.done("POST", f"/detect?det_prob_threshold={sure!r}", files=upload)["result"]) == 2
    (largest,) = detection.done("POST", "/detect?limit=1&face_plugins=calculator&status=on", files=upload)["result"]
    assert len(largest["embedding"]) == 512
    assert largest["execution_time"].keys() == {"detector", "calculator"}
    assert recognition.error("POST", "/faces?subject=Group", files=upload) == SEVERAL
    assert recognition.done("GET", "/subjects") == {"subjects": []}
    tony = file(photos("Tony_Blair", 2).read_bytes())
    both = {"source_image": upload["file"], "target_image": tony}
    assert verification.error("POST", "/verify", files=both) == SEVERAL
    assert len(verification.done("POST", "/verify?limit=1", files=both)["result"][0]["face_matches"]) == 1
    turned = {"source_image": tony, "target_image": upload["file"]}
    (compared,) = verification.done("POST", "/verify", files=turned)["result"]
    assert [face["box"]["x_min"] for face in compared["face_matches"]] == [face["box"]["x_min"] for face in faces]


def test_verification(api: Served, recognition: Caller, photos: Photos) -> None:
    verification = caller(api, "verification")
    source, target = photos("Tony_Blair", 2), photos("Tony_Blair", 3)
    files = {"source_image": file(source.read_bytes()), "target_image": file(target.read_bytes())}
    expected = scale_of(api.gallery.config.anchors).similarity(cosine(api, source, target))
    body = verification.done("POST", "/verify?status=1&face_plugins=landmarks", files=files)
    assert body.keys() == {"result"}
    (result,) = body["result"]
    assert result.keys() == {"source_image_face", "face_matches", "plugins_versions"}
    (match,) = result["face_matches"]
    assert match["similarity"] == pytest.approx(expected, abs=2e-5)
    assert match.keys() - {"similarity"} == result["source_image_face"].keys()
    # The same from base64, from an example, and from embeddings.
    images = {"source_image": base64_of(source.read_bytes()), "target_image": base64_of(target.read_bytes())}
    (again,) = verification.done("POST", "/verify", json=images)["result"]
    assert again["face_matches"][0]["similarity"] == match["similarity"]
    example = recognition.add("Tony", source.read_bytes())
    upload = {"file": file(target.read_bytes())}
    (verified,) = recognition.done("POST", f"/faces/{example}/verify?face_plugins=calculator", files=upload)["result"]
    assert (verified["subject"], verified["similarity"]) == ("Tony", match["similarity"])
    assert recognition.error("POST", f"/faces/{UNKNOWN_ID}/verify", files=upload) == (404, 44, "Image Id is incorrect")
    one, two = (api.gallery.faces(photo)[0].embedding.tolist() for photo in (source, target))
    ranked = verification.done("POST", "/embeddings/verify", json={"source": one, "targets": [two, one]})["result"]
    assert [entry["similarity"] for entry in ranked] == [pytest.approx(1, abs=1e-3), match["similarity"]]
    assert ranked[1]["embedding"] == two
    # An embedding need not be normalised.
    scaled = [7 * number for number in two]
    path = f"/embeddings/faces/{example}/verify"
    (entry,) = recognition.done("POST", path, json={"embeddings": [scaled]})["result"]
    assert entry["similarity"] == match["similarity"]
    (found,) = recognition.done("POST", "/embeddings/recognize", json={"embeddings": [two]})["result"]
    assert found["similarities"] == [{"subject": "Tony", "similarity": match["similarity"]}]


# The wire format


def test_json_is_written_as_jackson_does(recognition: Caller) -> None:
    recognition.done("POST", "/subjects", 201, json={"subject": "Zoë"})
    assert recognition.send("GET", "/subjects").text == '{\n  "subjects" : [ "Zoë" ]\n}'
    faces = recognition.send("GET", "/faces").text
    assert faces.startswith('{\n  "faces" : [ ],\n  "page_number" : 0,\n')


@pytest.mark.parametrize(
    "query",
    [
        "?&limit=1&det_prob_threshold=0.2&status=True",  # the Python SDK
        "?limit=1?det_prob_threshold=0.2?status=yes",  # the JavaScript SDK
        "?det_prob_threshold=0.2?limit=1&status=ON&unknown=x",
        "?limit=1&limit=x&status=true&status=x&det_prob_threshold=0.2&det_prob_threshold=x",  # Spring takes the first
    ],
)
def test_query_strings_of_the_sdks(api: Served, group_photo: Path, query: str) -> None:
    response = caller(api, "detection").done("POST", f"/detect{query}", files={"file": file(group_photo.read_bytes())})
    assert len(response["result"]) == 1
    assert "plugins_versions" in response


def test_a_subject_with_question_marks_in_its_name(recognition: Caller, photos: Photos) -> None:
    """The Python SDK does not encode it."""
    upload = {"file": file(photos("Tony_Blair", 2).read_bytes())}
    path = "/faces?subject=Who is it? Tony?det_prob_threshold=0.2"
    assert recognition.done("POST", path, 201, files=upload)["subject"] == "Who is it? Tony"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=-1", (400, 26, "Limit should be equal or greater than 0; ")),
        ("prediction_count=0", (400, 26, "prediction_count should be equal or greater than 1; ")),
        ("limit=x", UNDEFINED),
        ("limit=99999999999", UNDEFINED),
        ("status=maybe", UNDEFINED),
        ("det_prob_threshold=x", UNDEFINED),
        ("det_prob_threshold=1.1", NO_FACE),
        ("det_prob_threshold=nan", NO_FACE),
        ("face_plugins=a%00", UNDEFINED),
        ("&".join(["a=b"] * 200), UNDEFINED),
    ],
)
def test_parameters_that_are_refused(
    recognition: Caller, photos: Photos, query: str, error: tuple[int, int, str]
) -> None:
    upload = {"file": file(photos("Tony_Blair", 2).read_bytes())}
    assert recognition.error("POST", f"/recognize?{query}", files=upload) == error


def test_bodies_that_are_refused(api: Served, recognition: Caller, photos: Photos) -> None:
    photo = photos("Tony_Blair", 2).read_bytes()
    bomb = BytesIO()  # more pixels than PGFACE_MAX_UPLOAD_PIXELS
    Image.new("1", (6_000, 5_000)).save(bomb, "PNG")
    refused: list[tuple[dict[str, Any], tuple[int, int, str]]] = [
        ({"files": {"other": file(photo)}}, (400, 34, "Required part file is missing")),
        ({"files": {"file": file(photo, "a.pdf")}}, (400, 21, "File [a.pdf] has an unavailable extension")),
        ({"files": {"file": file(photo, "jpg")}}, (400, 21, "File [jpg] has an unavailable extension")),
        ({"files": {"file": ("", photo)}}, (400, 21, "File [] has an unavailable extension")),
        ({"json": {"file": "data:image/jpeg;base64,AAAA"}}, (400, 21, "Provided value is not Base64")),
        ({"json": {"file": None}}, (400, 5, "Field content cannot be empty")),
        ({"json": {"file": 7}}, UNDEFINED),
        ({"json": [1]}, UNDEFINED),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, UNDEFINED),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, UNDEFINED),
        ({"content": b"x"}, (415, *UNDEFINED[1:])),
        ({"files": {"file": file(b"not a photo")}}, NO_FACE),
        ({"files": {"file": file(photo[:2000])}}, NO_FACE),
        ({"json": {"file": ""}}, NO_FACE),
        ({"files": {"file": file(bomb.getvalue(), "bomb.png")}}, NO_FACE),
    ]
    before = api.contents()
    for arguments, error in refused:
        headers = recognition.headers | arguments.pop("headers", {})
        for path in ("/recognize", "/faces?subject=x", f"/faces/{UNKNOWN_ID}/verify"):
            response = api.client.post(f"/api/v1/recognition{path}", headers=headers, **arguments)
            assert (response.status_code, response.json()["code"], response.json()["message"]) == error, path
    assert recognition.error("POST", "/recognize", files={"file": file(blank())}) == NO_FACE
    assert api.contents()[0] == before[0]


@pytest.mark.parametrize(
    ("names", "boundary", "error"),
    [
        (['filename="C:\\x\\A.JPG"'], "b", None),
        (["filename*=UTF-8''a%20b.jpg"], "b", None),
        (["filename=a.jpg", "filename=other.jpg"], "b", None),  # the first counts
        ([], "b", (400, 34, "Required part file is missing")),
        ([""], "b", (400, 21, "File [] has an unavailable extension")),
        (['filename=""'], "b", (400, 21, "File [] has an unavailable extension")),
        (["filename=a.jpg"], "other", UNDEFINED),
    ],
)
def test_forms(
    api: Served, photos: Photos, names: list[str], boundary: str, error: tuple[int, int, str] | None
) -> None:
    detection, contents = caller(api, "detection"), [photos("Tony_Blair", 2).read_bytes(), b"junk"]
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="file"; {name}\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in zip(names, contents, strict=False)
    ]
    headers = detection.headers | {"content-type": f"multipart/form-data; boundary={boundary}"}
    body = b"".join(parts) + b"--b--\r\n"
    answer = api.client.post("/api/v1/detection/detect", content=body, headers=headers)
    found = answer.json()
    if error is None:
        assert len(found["result"]) == 1
    else:
        assert (answer.status_code, found["code"], found["message"]) == error


def test_base64_as_clients_write_it(api: Served, photos: Photos) -> None:
    detection = caller(api, "detection")
    image = base64_of(photos("Tony_Blair", 2).read_bytes() + b"\xff\xff")  # ends with an equals sign
    lines = "\r\n".join(image[start : start + 76] for start in range(0, len(image), 76))
    url_safe = image.replace("+", "-").replace("/", "_")
    assert image.endswith("=")
    for variant in (image, lines, url_safe, image.rstrip("="), f" \t{image}\n"):
        assert len(detection.done("POST", "/detect", json={"file": variant})["result"]) == 1
    for broken in (f"data:image/jpeg;base64,{image}", f"{image}\N{NO-BREAK SPACE}", image.replace("A", "=", 1), "a"):
        error = detection.error("POST", "/detect", json={"file": broken})
        assert error == (400, 21, "Provided value is not Base64")


def test_json_in_other_encodings(api: Served) -> None:
    """Clients on Windows send a byte order mark, or UTF-16."""
    recognition = caller(api)
    headers = recognition.headers | {"content-type": "application/json; charset=utf-8"}
    for number, encoding in enumerate(("utf-8-sig", "utf-16", "utf-16-le", "utf-32")):
        body = f'{{"subject": "Zoë {number}"}}'.encode(encoding)
        answer = api.client.post("/api/v1/recognition/subjects", content=body, headers=headers)
        assert answer.json() == {"subject": f"Zoë {number}"}
    for broken in (b"\xff\xfe{", b"\xef\xbb\xbf", b'{"subject": "\xff"}'):
        answer = api.client.post("/api/v1/recognition/subjects", content=broken, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, 0)


def test_the_size_of_a_file(api: Served, photos: Photos) -> None:
    detection = caller(api, "detection")
    largest = photos("Tony_Blair", 2).read_bytes()
    largest += bytes(5 * MEBI - len(largest))
    assert detection.done("POST", "/detect", files={"file": file(largest)})["result"]
    assert detection.done("POST", "/detect", json={"file": base64_of(largest)})["result"]
    assert detection.error("POST", "/detect", files={"file": file(largest + b"x")}) == UNDEFINED
    assert detection.error("POST", "/detect", json={"file": base64_of(largest + b"x")}) == UNDEFINED
    assert detection.error("POST", "/detect", files={"file": file(2 * largest)}) == UNDEFINED


@pytest.mark.parametrize(
    ("service", "method", "path", "body", "error"),
    [
        ("recognition", "POST", "/faces", None, (400, 33, "Required parameter subject is missing")),
        ("recognition", "POST", "/faces?subject=%20", None, (400, 26, "Subject name is empty; ")),
        ("recognition", "DELETE", "/faces/x", None, UNDEFINED),
        ("recognition", "POST", "/faces/delete", {"ids": []}, UNDEFINED),
        ("recognition", "POST", "/faces/delete", ["x"], UNDEFINED),
        ("recognition", "PATCH", "/faces", None, (404, 0, "Request method 'PATCH' not supported")),
        ("recognition", "GET", "/nothing", None, (404, 0, "No message available")),
        ("recognition", "POST", "/embeddings/recognize", {}, (400, 5, "Field embeddings cannot be empty")),
        ("recognition", "POST", "/embeddings/recognize", {"embeddings": [["x"]]}, UNDEFINED),
        ("verification", "POST", "/embeddings/verify", {"source": [1]}, (400, 5, "Field targets cannot be empty")),
        ("verification", "POST", "/verify", {"source_image": ""}, (400, 5, "Field targetImageBase64 cannot be empty")),
    ],
)
def test_other_errors(
    api: Served, service: str, method: str, path: str, body: Any, error: tuple[int, int, str]
) -> None:
    assert caller(api, service).error(method, path, json=body) == error


def test_embeddings_of_another_model_are_refused(recognition: Caller) -> None:
    for embedding in ([0.5] * 128, [0.0] * 512):
        status, code, _ = recognition.error("POST", "/embeddings/recognize", json={"embeddings": [embedding]})
        assert (status, code) == (400, 26)
    headers = recognition.headers | {"content-type": "application/json"}
    for number, code in ((b"NaN", 0), (b"9" * 400, 0), (b"true", 0), (b"1e999", 26)):
        raw = b'{"embeddings": [[' + b", ".join([number] * 512) + b"]]}"
        answer = recognition.api.client.post("/api/v1/recognition/embeddings/recognize", content=raw, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, code), number


def test_json_that_would_take_much_memory_is_refused(recognition: Caller) -> None:
    headers = recognition.headers | {"content-type": "application/json"}
    for path, body, code in (
        ("/embeddings/recognize", b'{"embeddings": [' + b"[]," * 3_000_000 + b"[]]}", 0),
        ("/embeddings/recognize", b'{"embeddings": [' + b"[]," * 1_000 + b"[]]}", 26),
        ("/embeddings/recognize", b'{"embeddings": [[' + b"1," * 10_000 + b"1]]}", 0),
        ("/embeddings/recognize", b"{" + b'"a":1,' * 1_000_000 + b'"b":1}', 0),
        ("/faces/delete", b"[" + b'"x",' * 300_000 + b'"x"]', 0),
    ):
        answer = recognition.api.client.post(f"/api/v1/recognition{path}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, code), body[:30]


def test_many_examples_are_deleted_in_several_transactions(
    recognition: Caller, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "_BATCH_DELETIONS", 2)
    photo = photos("Tony_Blair", 2).read_bytes()
    ids = [recognition.add(f"Tony {number}", photo) for number in range(5)]
    wanted = [*ids[3:], UNKNOWN_ID, *ids[:3], ids[0]]
    deleted = recognition.done("POST", "/faces/delete", json=wanted)
    assert [one["image_id"] for one in deleted] == [*ids[3:], *ids[:3]]
    assert recognition.done("GET", "/faces")["total_elements"] == 0
    recognition.add("Tony 4", photo)
    assert recognition.done("DELETE", "/subjects") == {"deleted": 5}
    assert recognition.done("GET", "/subjects") == {"subjects": []}


def test_a_failure_is_json_without_details(
    api: Served, recognition: Caller, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the service")

    monkeypatch.setattr(type(api.gallery), "faces", fail)
    status, code, message = recognition.error(
        "POST", "/recognize", files={"file": file(photos("Tony_Blair", 2).read_bytes())}
    )
    assert (status, code) == (500, 41)
    assert "secret" not in message


def test_facts(api: Served) -> None:
    assert api.client.get("/api/v1/config").json() == {"maxFileSize": 5 * MEBI, "maxBodySize": 10 * MEBI}
    assert api.client.get("/api/v1/consistence/status").json()["status"] == "OK"
    assert api.client.post("/api/v1/migrate").status_code == 404


def test_the_log_and_the_metrics_have_the_operation(api: Served, recognition: Caller) -> None:
    recognition.done("GET", "/subjects")
    metrics = api.client.get("/metrics", headers=api.key("metrics")).text
    assert 'operation="compreface_list_subjects"' in metrics


# Search


@pytest.mark.slow
def test_an_index_finds_what_a_scan_finds(
    connection: Connection, database: Database, random_people: NDArray[np.float32]
) -> None:
    """Also if another user is more similar than every subject."""
    connection.execute("UPDATE users SET external_id = 's' || id WHERE id % 2 = 0")
    subjects, others = random_people[1:40:2], random_people[0:40:2]
    probes = [*map(text, subjects), *map(text, subjects + 0.6 * others), *map(text, others + 0.6 * subjects)]

    def answers(count: int) -> list[list[Any]]:
        query = "SELECT embedding_id FROM find_similar_examples(%s, %s)"
        return [rows(connection, query, probe, count) for probe in probes]

    scanned = {count: answers(count) for count in (1, 2, 30)}
    assert fit_search(database, "hnsw", SCAN).method == "hnsw"
    for count, expected in scanned.items():
        assert {len(one) for one in expected} == {count}
        assert answers(count) == expected, count


def test_a_scan_returns_the_best_examples_of_subjects(api: Served) -> None:
    users = api.execute(
        "INSERT INTO users (name, email, password, external_id) SELECT g, g || '@subject.invalid', '!', "
        "NULLIF(g, 2)::text FROM generate_series(1, 3) g RETURNING id"
    )
    cosines = (0.5, 0.9, 0.7)
    api.owner.load_embeddings([user_id for (user_id,) in users], np.array([_at(cosine) for cosine in cosines]))
    found = api.execute(
        "SELECT external_id, round(similarity::numeric, 3) FROM find_similar_examples(%s, 5)", str(_at(1).tolist())
    )
    assert [(name, float(value)) for name, value in found] == [("3", 0.7), ("1", 0.5)]


def _at(cosine: float) -> NDArray[np.float32]:
    """Return a unit embedding with this cosine to the first axis."""
    embedding = np.zeros(512, np.float32)
    embedding[:2] = cosine, math.sqrt(1 - cosine**2)
    return embedding


def test_pretty_json_is_json(recognition: Caller, photos: Photos) -> None:
    upload = {"file": file(photos("Tony_Blair", 2).read_bytes())}
    response = recognition.send("POST", "/recognize?face_plugins=calculator", files=upload)
    assert "\n" not in response.text[response.text.index('"embedding" : [') : response.text.index(" ],")]
    assert len(json.loads(response.text)["result"][0]["embedding"]) == 512
