"""Users, photos and faces over HTTP, with real photos."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from PIL import Image

from pgface.accounts import read_audit
from pgface.settings import Settings
from support.photos import Photos
from support.sentences import api as says
from support.web_service import V1, Headers, Served, base64_of, code_of, file, served_in_process

BLAIR, BUSH, POWELL = "Tony_Blair", "George_W_Bush", "Colin_Powell"

Send = Callable[..., Response]


@pytest.fixture(params=["form", "json"])
def send(api: Served, request: pytest.FixtureRequest) -> Send:
    """Return a function that sends fields and photos, as a form or as JSON."""

    def post(path: str, headers: Headers, photos: dict[str, Path], **fields: Any) -> Response:
        if request.param == "form":
            files = {name: file(path.read_bytes(), path.name) for name, path in photos.items()}
            return api.client.post(V1 + path, files=files, data=fields, headers=headers)
        body = fields | {name: base64_of(path.read_bytes()) for name, path in photos.items()}
        return api.client.post(V1 + path, json=body, headers=headers)

    return post


def test_enroll_identify_verify_compare_detect_and_delete(api: Served, send: Send, photos: Photos) -> None:
    program = api.key("enroll", "identify", "verify", "admin")
    enrolled = send(
        "/photos", program, {"photo": photos(BLAIR, 2)}, email="Blair@Example.org", name="Tony", face="largest"
    )
    assert enrolled.status_code == 201, enrolled.text
    user = enrolled.json()["user"]
    assert (user["email"], user["name"], user["photos"], user["embeddings"]) == ("blair@example.org", "Tony", 1, 1)
    assert enrolled.json()["face"]["quality"]["face_size"] > 40
    again = send("/photos", program, {"photo": photos(BLAIR, 2)}, email="blair@example.org")
    assert (again.status_code, again.json()["added"], again.json()["face"]) == (200, False, None)
    assert again.json()["photo_id"] == enrolled.json()["photo_id"]
    more = send(f"/users/{user['id']}/photos", program, {"photo": photos(BLAIR, 3)})
    assert (more.status_code, more.json()["user"]["photos"]) == (201, 2)

    found = send("/identify", program, {"photo": photos(BLAIR, 4)}, top=3).json()
    (face,) = found["faces"]
    assert (face["identified"], [match["user_id"] for match in face["matches"]]) == (True, [user["id"]])
    assert found["threshold"] < face["matches"][0]["similarity"] < 1
    assert 0 < face["matches"][0]["confidence"] <= 100
    (stranger,) = send("/identify", program, {"photo": photos(BUSH, 1)}).json()["faces"]
    assert (stranger["identified"], stranger["matches"]) == (False, [])
    (forced,) = send("/identify", program, {"photo": photos(BUSH, 1)}, threshold=-1).json()["faces"]
    assert [(match["user_id"], match["confidence"]) for match in forced["matches"]] == [(user["id"], None)]

    api.gallery.update_user(user["id"], external_id="emp-17")
    for who in ({"user_id": user["id"]}, {"email": "BLAIR@example.org"}, {"external_id": "emp-17"}):
        verified = send("/verify", program, {"photo": photos(BLAIR, 5)}, **who).json()
        assert (verified["match"], verified["user_id"], verified["confidence"] > 80) == (True, user["id"], True)
    refused = send("/verify", program, {"photo": photos(BUSH, 1)}, user_id=user["id"]).json()
    assert (refused["match"], refused["confidence"]) == (False, None)
    same = send("/compare", program, {"photo": photos(BUSH, 1), "other": photos(BUSH, 2)}).json()
    assert (same["match"], same["confidence"] > 80) == (True, True)
    different = send("/compare", program, {"photo": photos(BUSH, 1), "other": photos(BLAIR, 2)}).json()
    assert (different["match"], different["confidence"]) == (False, None)
    (seen,) = send("/detect", program, {"photo": photos(BUSH, 1)}).json()["faces"]
    assert seen["box"]["width"] > 40
    assert len(seen["landmarks"]) == 5

    path = f"{V1}/users/{user['id']}/photos/{more.json()['photo_id']}"
    crop = api.client.get(f"{path}/crop", headers=program)
    assert crop.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(crop.content)).size == (224, 224)
    assert api.client.delete(path, headers=program).status_code == 204
    assert code_of(api.client.get(f"{path}/crop", headers=program), 404) == "unknown-photo"
    assert api.client.delete(f"{V1}/users/{user['id']}", headers=program).status_code == 204
    assert code_of(api.client.get(f"{V1}/users/{user['id']}", headers=program), 404) == "unknown-user"
    assert api.execute("SELECT count(*) FROM face_embeddings") == [(0,)]
    events = [(entry.event, entry.actor) for entry in read_audit(api.gallery.database, user_id=user["id"])]
    assert [event for event, _ in events] == ["user deleted", "photo deleted", "photo enrolled", "photo enrolled"]
    assert {actor for _, actor in events} == {f"key {_key_id(api)}"}


def _key_id(api: Served) -> int:
    ((number,),) = api.execute("SELECT max(id) FROM api_keys")
    return int(number)


def test_a_user_enrolls_and_verifies_their_own_photo(api: Served, send: Send, photos: Photos) -> None:
    person = api.person()
    own = f"/users/{person.id}/photos"
    answer = send(own, person.headers, {"photo": photos(BUSH, 1)})
    assert answer.status_code == 201
    listed = api.client.get(V1 + own, headers=person.headers).json()["photos"]
    name = "George_W_Bush_0001.jpg"
    assert [photo["filename"] in (name, "photo") for photo in listed] == [True]
    for who in ({}, {"user_id": person.id}, {"email": f" {person.email.upper()} "}):
        assert send("/verify", person.headers, {"photo": photos(BUSH, 2)}, **who).json()["match"] is True
    api.gallery.update_user(person.id, external_id="emp-18")
    for other in ({"external_id": "emp-18"}, {"external_id": "unknown"}, {"external_id": person.email}):
        refused = send("/verify", person.headers, {"photo": photos(BUSH, 2)}, **other)
        assert code_of(refused, 403) == "not-permitted"
    assert send("/compare", person.cookie, {"photo": photos(BUSH, 1), "other": photos(BLAIR, 2)}).status_code == 200
    assert send("/detect", person.headers, {"photo": photos(BUSH, 1)}).status_code == 200


def test_only_administrators_learn_whose_face_it_is(api: Served, send: Send, photos: Photos) -> None:
    owner = api.gallery.enroll(photos(BLAIR, 2), "blair.secret@example.org", name="Secret Name").user
    person, administrator = api.person(), api.administrator()
    path = f"/users/{person.id}/photos"
    refused = send(path, api.key("enroll"), {"photo": photos(BLAIR, 3)})
    assert code_of(refused, 409) == "face-of-another-user"
    assert refused.json()["detail"] == says.FACE_OF_ANOTHER_USER
    for secret in (f'"{owner.id}"', f": {owner.id}", f" {owner.id}", "blair.secret", "Secret"):
        assert secret not in refused.text
    # The user does not learn that the face is another user's (see test_contested_faces.py).
    own = send(path, person.headers, {"photo": photos(BLAIR, 3)})
    assert own.status_code == 201
    api.gallery.erase_photo(own.json()["photo_id"])
    for headers in (administrator.headers, api.key("admin")):
        refused = send(path, headers, {"photo": photos(BLAIR, 3)})
        assert "blair.secret@example.org" in refused.json()["detail"]
    allowed = send(path, administrator.headers, {"photo": photos(BLAIR, 3)}, allow_other_user=True)
    assert allowed.status_code == 201
    refused = send(path, api.key("enroll"), {"photo": photos(BLAIR, 4)}, allow_other_user=True)
    assert code_of(refused, 403) == "not-permitted"


def test_unusable_photos_and_users(api: Served, send: Send, photos: Photos, group_photo: Path, tmp_path: Path) -> None:
    headers = api.key("enroll", "verify", "identify")
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "empty.png")
    before = api.contents()
    for photo, code in ((group_photo, "several-faces"), (tmp_path / "empty.png", "no-face")):
        assert code_of(send("/photos", headers, {"photo": photo}, email="a@example.org"), 422) == code
    for other in ({"email": "a@example.org"}, {"external_id": "emp-17"}):
        both = send("/verify", headers, {"photo": photos(BLAIR, 2)}, user_id=1, **other)
        assert code_of(both, 422) == "request"
    assert code_of(send("/verify", headers, {"photo": photos(BLAIR, 2)}), 422) == "request"
    assert code_of(send("/verify", headers, {"photo": photos(BLAIR, 2)}, user_id=10**6), 404) == "unknown-user"
    unknown = send("/verify", headers, {"photo": photos(BLAIR, 2)}, external_id="unknown")
    assert code_of(unknown, 404) == "unknown-user"
    unknown = send("/verify", headers, {"photo": photos(BLAIR, 2)}, email="nobody@example.org")
    assert code_of(unknown, 404) == "unknown-user"
    assert "nobody@" not in unknown.text
    assert len(send("/identify", headers, {"photo": group_photo}).json()["faces"]) == 6
    assert send("/identify", headers, {"photo": tmp_path / "empty.png"}).json()["faces"] == []
    assert api.contents() == before


def test_users(api: Served) -> None:
    program = api.key("enroll", "admin")
    made = api.client.post(f"{V1}/users", json={"email": "Ana@Example.org", "name": "Ana"}, headers=program)
    assert made.status_code == 201
    user = made.json()
    assert (user["email"], user["name"], user["photos"]) == ("ana@example.org", "Ana", 0)
    assert user["created_at"].endswith("Z")
    assert api.client.get(f"{V1}/users/{user['id']}", headers=program).json() == user
    again = api.client.post(f"{V1}/users", json={"email": "ana@example.org"}, headers=program)
    assert code_of(again, 409) == "duplicate-email"
    assert api.client.delete(f"{V1}/users/{user['id']}", headers=program).status_code == 204
    assert code_of(api.client.delete(f"{V1}/users/{user['id']}", headers=program), 404) == "unknown-user"


# Pagination


def pages_of(api: Served, path: str, headers: Headers, of: str, **query: Any) -> Iterator[list[int]]:
    cursor: str | None = None
    while True:
        params = query | ({"cursor": cursor} if cursor else {})
        answer = api.client.get(V1 + path, params=params, headers=headers).json()
        yield [row["id"] for row in answer[of]]
        cursor = answer["next_cursor"]
        if cursor is None:
            return


def test_lists_have_pages(api: Served, photos: Photos) -> None:
    ids = [api.gallery.add_user(f"u{number}@example.org", f"Name {number % 2}").id for number in range(5)]
    headers = api.key("admin")
    assert list(pages_of(api, "/users", headers, "users", limit=2)) == [ids[:2], ids[2:4], ids[4:]]
    assert list(pages_of(api, "/users", headers, "users", limit=5)) == [ids]
    assert list(pages_of(api, "/users", headers, "users", limit=2, search="name 0")) == [ids[0:4:2], ids[4:]]
    assert list(pages_of(api, "/users", headers, "users", search="%")) == [[]]
    assert list(pages_of(api, "/users", headers, "users", search="'; DROP TABLE users; --\0")) == [[]]
    path = f"/users/{ids[0]}/photos"
    taken = [api.gallery.enroll(photos(BLAIR, number), ids[0]).photo_id for number in (2, 3, 4)]
    assert list(pages_of(api, path, headers, "photos", limit=2)) == [taken[:2], taken[2:]]
    assert list(pages_of(api, f"/users/{ids[1]}/photos", headers, "photos")) == [[]]
    audit = [entry.id for entry in read_audit(api.gallery.database, limit=100)]
    assert list(chain(*pages_of(api, "/audit", headers, "entries", limit=7)))[: len(audit)] == audit
    assert code_of(api.client.get(f"{V1}/users/99999999/photos", headers=headers), 404) == "unknown-user"


@pytest.mark.parametrize(
    "cursor", ["", "x", "=", "dXNlcnM6", "dXNlcnM6LTE", "dXNlcnM6MWUz", "_" * 200, "dXNlcnM6OTIyMzM3MjAzNjg1NDc3NTgwOA"]
)
def test_forged_cursors(api: Served, cursor: str) -> None:
    answer = api.client.get(f"{V1}/users", params={"cursor": cursor}, headers=api.key("admin"))
    assert code_of(answer, 400) == "cursor"


def test_a_cursor_belongs_to_one_list(api: Served) -> None:
    for number in range(2):
        api.gallery.add_user(f"u{number}@example.org")
    headers = api.key("admin")
    cursor = api.client.get(f"{V1}/users", params={"limit": 1}, headers=headers).json()["next_cursor"]
    assert api.client.get(f"{V1}/users", params={"cursor": cursor}, headers=headers).status_code == 200
    assert code_of(api.client.get(f"{V1}/audit", params={"cursor": cursor}, headers=headers), 400) == "cursor"
    too_far = "dXNlcnM6OTIyMzM3MjAzNjg1NDc3NTgwNw"  # users:9223372036854775807
    assert api.client.get(f"{V1}/users", params={"cursor": too_far}, headers=headers).json()["users"] == []
    too_long = api.client.get(f"{V1}/users", params={"cursor": "x" * 201}, headers=headers)
    assert code_of(too_long, 422) == "invalid-request"
    for limit in ("0", "101", "-1", "x", "1e3", "9" * 5000):
        refused = api.client.get(f"{V1}/users", params={"limit": limit}, headers=headers)
        assert code_of(refused, 422) == "invalid-request"


@pytest.fixture
def schema_name() -> str:
    """The schema `public`. The shared service of the tests uses another schema."""
    return "public"


def test_the_service_in_the_public_schema(settings: Settings, insightface_pack: Path, photos: Photos) -> None:
    with served_in_process(settings, insightface_pack) as api:
        person = api.person()
        sent = {"photo": file(photos(BLAIR, 2).read_bytes())}
        headers = person.headers | {"Idempotency-Key": "1"}
        for _ in range(2):
            answer = api.client.post(f"{V1}/users/{person.id}/photos", files=sent, headers=headers)
            assert answer.status_code == 201
        found = api.client.post(
            f"{V1}/identify", files={"photo": file(photos(BLAIR, 3).read_bytes())}, headers=api.key("identify")
        ).json()
        assert found["faces"][0]["matches"][0]["user_id"] == person.id
        assert api.client.get("/readyz").json()["ready"] is True
        assert b"pgface_users" in api.client.get("/metrics", headers=api.key("metrics")).content
        assert api.client.get(f"{V1}/audit", headers=api.key("admin")).json()["entries"][0]["event"] == "key created"
