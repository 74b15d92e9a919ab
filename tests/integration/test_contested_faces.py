"""Contested faces: users cannot learn who else is in the gallery by enrolling a face."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from pgface.accounts import Client
from pgface.errors import (
    FaceOfAnotherUserError,
    UnknownPhotoError,
)
from support.photos import Photos
from support.web_service import V1, Served, code_of, enroll_own, file

EMAIL, OTHER = "ada@example.org", "five other plain words here"
STRANGER = Client(address="198.51.100.1")


def test_users_do_not_learn_who_else_is_in_the_gallery(api: Served, photos: Photos) -> None:
    """A face of another user gets the same responses as a new face, in the REST API and on the pages."""
    api.owner.enroll(photos("Colin_Powell", 1), "colin@example.org")
    seen = []
    for photo in (photos("Colin_Powell", 2), photos("Tony_Blair", 2)):
        person = api.person(name="person")
        headers = person.headers
        answer = enroll_own(api, person.id, headers, photo)
        again = enroll_own(api, person.id, headers, photo)
        enrolled = answer.json()
        verified = api.client.post(f"{V1}/verify", headers=headers, files={"photo": file(photo.read_bytes())}).json()
        listed = api.client.get(f"{V1}/users/{person.id}/photos", headers=headers).json()["photos"]
        me = api.client.get(f"{V1}/auth/me", headers=headers).json()["user"]
        crop = api.client.get(f"{V1}/users/{person.id}/photos/{enrolled['photo_id']}/crop", headers=headers)
        data = api.client.get("/account/data", headers=person.cookie)
        with zipfile.ZipFile(io.BytesIO(data.content)) as archive:
            own = {name: json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")}
        page = api.client.get("/account", headers=person.cookie)
        seen.append(
            (
                answer.status_code,
                sorted(enrolled),
                again.status_code,
                again.json()["added"],
                enrolled["user"]["embeddings"],
                (verified["match"], round(verified["similarity"], 3)),
                len(listed),
                (me["photos"], me["embeddings"]),
                crop.status_code,
                page.status_code,
                [len(own["embeddings.json"]), sorted(own["embeddings.json"][0])],
                [entry["event"] for entry in own["audit.json"]],
                api.client.delete(f"{V1}/users/{person.id}/photos/{enrolled['photo_id']}", headers=headers).status_code,
                api.client.get(f"{V1}/auth/me", headers=headers).json()["user"]["embeddings"],
            )
        )
    assert seen[0] == seen[1]
    assert seen[0][0] == 201
    assert seen[0][5] == (True, 1.0)


def test_identification_ignores_a_contested_face_until_an_administrator_accepts_it(api: Served, photos: Photos) -> None:
    squatter, owner = api.person(), api.person()
    administrator, terminal = api.administrator(), api.key("enroll", "identify")
    assert enroll_own(api, squatter.id, squatter.headers, photos("Colin_Powell", 1)).status_code == 201
    theirs = enroll_own(api, owner.id, owner.headers, photos("Colin_Powell", 2)).json()["photo_id"]
    assert [event for (event,) in api.execute("SELECT event FROM audit_log WHERE user_id = %s", owner.id)].count(
        "face contested"
    ) == 1
    (contested,) = api.gallery.contested_faces()
    assert (contested.photo_id, contested.user_id) == (theirs, owner.id)
    assert contested.looks_like
    assert contested.looks_like.user_id == squatter.id

    def identified() -> list[int]:
        probe = {"photo": file(photos("Colin_Powell", 3).read_bytes())}
        (face,) = api.client.post(f"{V1}/identify", headers=terminal, files=probe, data={"top": "5"}).json()["faces"]
        return [match["user_id"] for match in face["matches"]]

    assert identified() == [squatter.id]
    # Programs and administrators see the reason.
    of_terminal = api.client.post(
        f"{V1}/photos",
        headers=terminal,
        files={"photo": file(photos("Colin_Powell", 4).read_bytes())},
        data={"email": "colin@example.org"},
    )
    assert code_of(of_terminal, 409) == "face-of-another-user"
    page = api.client.get("/admin/gallery", headers=administrator.cookie).text
    assert f"/admin/people/{owner.id}" in page
    shown = api.client.get(f"/admin/people/{owner.id}", headers=administrator.cookie).text
    assert f"/admin/people/{squatter.id}" in shown
    accept = f"/admin/people/{owner.id}/photos/{theirs}/accept"
    assert api.client.post(accept, headers=owner.cookie, follow_redirects=False).status_code == 403
    with pytest.raises(FaceOfAnotherUserError):
        api.owner.accept_face(theirs)
    api.owner.erase_user(squatter.id)
    api.owner.accept_face(theirs)
    assert identified() == [owner.id]
    with pytest.raises(UnknownPhotoError):
        api.owner.accept_face(theirs)
    assert api.gallery.contested_faces() == []


def test_an_administrator_accepts_by_page_and_command(api: Served, photos: Photos) -> None:
    api.owner.enroll(photos("Colin_Powell", 1), "colin@example.org")
    administrator, twin = api.administrator(), api.person()
    first = enroll_own(api, twin.id, twin.headers, photos("Colin_Powell", 2)).json()["photo_id"]
    second = enroll_own(api, twin.id, twin.headers, photos("Colin_Powell", 3)).json()["photo_id"]
    path = f"/admin/people/{twin.id}/photos/{first}/accept"
    assert api.client.post(path, headers=administrator.cookie, follow_redirects=False).status_code == 303
    assert [face.photo_id for face in api.gallery.contested_faces()] == [second]
    merged = api.owner.merge_users(twin.id, "colin@example.org")
    assert (merged.photos, merged.embeddings) == (3, 3)
    assert api.gallery.contested_faces() == []


def test_users_cannot_enroll_themselves_if_a_face_alone_logs_in(
    api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person()
    settings = api.service.settings.model_copy(update={"login_policy": "identify+liveness"})
    monkeypatch.setattr(type(api.service.gallery), "settings", settings)
    answers = [enroll_own(api, person.id, person.headers, photos(name, 1)) for name in ("Colin_Powell", "Tony_Blair")]
    assert {code_of(answer, 403) for answer in answers} == {"not-permitted"}


def test_a_user_cannot_enroll_more_photos_than_the_limit(
    api: Served, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person()
    settings = api.service.settings.model_copy(update={"max_own_photos": 1})
    monkeypatch.setattr(type(api.service.gallery), "settings", settings)
    assert enroll_own(api, person.id, person.headers, photos("Colin_Powell", 1)).status_code == 201
    assert code_of(enroll_own(api, person.id, person.headers, photos("Colin_Powell", 2)), 422) == "gallery"
