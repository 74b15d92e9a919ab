"""Idempotency-Key: a repeated request is processed once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from pgface.accounts import idempotency
from pgface.gallery import Gallery
from pgface.results import Enrollment
from support.photos import Photos
from support.web_service import PASSWORD, V1, Served, base64_of, code_of, enroll_own, file

USERS = f"{V1}/users"


def test_a_repeated_request_gets_the_first_response(api: Served) -> None:
    headers = api.key("enroll") | {"Idempotency-Key": "a random text"}
    body = {"email": "ana@example.org"}
    first = api.client.post(USERS, json=body, headers=headers)
    again = api.client.post(USERS, json=body, headers=headers)
    assert (first.status_code, first.headers.get("idempotent-replayed")) == (201, None)
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, "true")
    assert again.json() == first.json()
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert len(api.gallery.users()) == 1
    ((caller, key, request),) = api.execute("SELECT caller, key, request FROM idempotent_requests")
    assert caller.startswith("key ")
    assert len(key) == len(request) == 64


def test_another_request_or_another_caller(api: Served) -> None:
    headers = api.key("enroll") | {"Idempotency-Key": "1"}
    assert api.client.post(USERS, json={"email": "ana@example.org"}, headers=headers).status_code == 201
    other = api.client.post(USERS, json={"email": "bea@example.org"}, headers=headers)
    assert code_of(other, 422) == "key-used-before"
    renamed = api.client.post(USERS, json={"email": "ana@example.org", "name": "Ana"}, headers=headers)
    assert code_of(renamed, 422) == "key-used-before"
    same_key = api.key("enroll") | {"Idempotency-Key": "1"}
    assert api.client.post(USERS, json={"email": "bea@example.org"}, headers=same_key).status_code == 201
    assert [user.email for user in api.gallery.users()] == ["ana@example.org", "bea@example.org"]


def test_a_photo_may_be_repeated_in_another_format(api: Served, photos: Photos) -> None:
    person = api.person()
    path = f"{USERS}/{person.id}/photos"
    data = photos("Tony_Blair", 2).read_bytes()
    headers = person.headers | {"Idempotency-Key": "photo 1"}
    sent = {"photo": ("photo", data, "image/jpeg")}
    first = api.client.post(path, files=sent, headers=headers)
    assert first.status_code == 201
    for again in (
        api.client.post(path, files=sent, headers=headers),
        api.client.post(path, json={"photo": base64_of(data)}, headers=headers),
        api.client.post(path, json={"face": "only", "photo": base64_of(data)}, headers=headers),
    ):
        assert (again.status_code, again.json()) == (201, first.json())
    for other in ({"photo": file(data, "another name")}, {"photo": file(data + b"\0")}):
        assert code_of(api.client.post(path, files=other, headers=headers), 422) == "key-used-before"
    # Without the key it is another request, and its response says that the user has the photo already.
    assert api.client.post(path, files=sent, headers=person.headers).status_code == 200
    elsewhere = f"{USERS}/{api.person().id}/photos"
    refused = api.client.post(elsewhere, files=sent, headers=api.administrator().headers | {"Idempotency-Key": "1"})
    assert code_of(refused, 409) == "face-of-another-user"


def test_a_refused_request_is_not_stored_and_can_be_repeated(api: Served, photos: Photos) -> None:
    headers = api.key("enroll") | {"Idempotency-Key": "1"}
    fields = {"email": "ana@example.org"}
    for code, status, answer in (
        (
            "photo-format",
            415,
            api.client.post(f"{V1}/photos", files={"photo": file(b"no photo")}, data=fields, headers=headers),
        ),
        ("gallery", 422, api.client.post(USERS, json={"email": "no e-mail"}, headers=headers)),
        ("invalid-request", 422, api.client.post(USERS, json={}, headers=headers)),
        ("media-type", 415, api.client.post(USERS, content=b"x", headers=headers)),
    ):
        assert code_of(answer, status) == code
        assert api.idempotent() == 0
    whole = {"photo": file(photos("Tony_Blair", 2).read_bytes())}
    assert api.client.post(f"{V1}/photos", files=whole, data=fields, headers=headers).status_code == 201


def test_a_stored_response_is_deleted_with_its_user(api: Served) -> None:
    headers = api.key("enroll", "admin") | {"Idempotency-Key": "1"}
    user = api.client.post(USERS, json={"email": "ana@example.org"}, headers=headers).json()
    assert api.client.delete(f"{USERS}/{user['id']}", headers=headers).status_code == 204
    assert api.idempotent() == 0
    again = api.client.post(USERS, json={"email": "ana@example.org"}, headers=headers).json()
    assert again["id"] != user["id"]


def test_registering_twice(api: Served) -> None:
    headers = {"Idempotency-Key": "1"}
    body = {"email": "ana@example.org", "password": PASSWORD}
    first, again = (api.client.post(f"{V1}/auth/register", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.json()) == (201, first.json())
    # The key reveals nothing without the same password.
    other = api.client.post(f"{V1}/auth/register", json=body | {"password": PASSWORD + "!"}, headers=headers)
    assert code_of(other, 422) == "key-used-before"
    ((kept,),) = api.execute("SELECT row_to_json(r)::text FROM idempotent_requests r")
    assert PASSWORD not in kept


@pytest.fixture
def slow(api: Served, monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Make enrollments wait. Return an event that is set when one has started, and an event that lets it end."""
    started, may_end = Event(), Event()
    enroll = Gallery.enroll

    def wait_and_enroll(gallery: Gallery, *args: Any, **options: Any) -> Enrollment:
        started.set()
        assert may_end.wait(30)
        return enroll(gallery, *args, **options)

    monkeypatch.setattr(Gallery, "enroll", wait_and_enroll)
    assert api
    return started, may_end


def test_two_equal_requests_in_parallel(api: Served, photos: Photos, slow: tuple[Event, Event]) -> None:
    started, may_end = slow
    person = api.person()
    data = photos("Tony_Blair", 2).read_bytes()

    def post() -> Any:
        headers = person.headers | {"Idempotency-Key": "1"}
        return api.client.post(f"{USERS}/{person.id}/photos", files={"photo": file(data)}, headers=headers)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(post)
        assert started.wait(30)
        meanwhile = post()
        may_end.set()
        assert first.result().status_code == 201
    assert code_of(meanwhile, 409) == "request-repeated"
    assert meanwhile.headers["retry-after"] == "1"
    assert post().json() == first.result().json()
    assert len(api.gallery.photos(person.id)) == 1


def test_a_process_died_during_a_request(api: Served) -> None:
    headers = api.key("enroll") | {"Idempotency-Key": "1"}
    body = {"email": "ana@example.org"}
    assert api.client.post(USERS, json=body, headers=headers).status_code == 201
    # A process leaves this row if it dies before it has stored the response.
    api.execute("UPDATE idempotent_requests SET status = NULL, answer = NULL, user_id = NULL")
    assert code_of(api.client.post(USERS, json=body, headers=headers), 409) == "request-repeated"
    api.execute("UPDATE idempotent_requests SET started_at = now() - interval '61 seconds'")
    assert code_of(api.client.post(USERS, json=body, headers=headers), 409) == "duplicate-email"
    assert api.idempotent() == 0
    api.owner.erase_user("ana@example.org")
    assert api.client.post(USERS, json=body, headers=headers).status_code == 201


def test_a_slow_request_that_counts_as_dead_does_not_delete_the_row_of_the_next(
    api: Served, slow: tuple[Event, Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_end = slow
    headers = api.key("enroll") | {"Idempotency-Key": "1"}

    def post() -> Any:
        fields = {"email": "ana@example.org"}
        return api.client.post(f"{V1}/photos", files={"photo": file(b"no photo")}, data=fields, headers=headers)

    with ThreadPoolExecutor(2) as others:
        first = others.submit(post)
        assert started.wait(30)
        started.clear()
        monkeypatch.setattr(idempotency, "GIVEN_UP_AFTER", 0)
        second = others.submit(post)
        assert started.wait(30)
        ((started_at,),) = api.execute("SELECT started_at FROM idempotent_requests")
        # The first request ends with an error while the second one is still running.
        with api.owner.database.transaction() as connection:
            connection.execute("UPDATE idempotent_requests SET started_at = started_at + interval '1 microsecond'")
        may_end.set()
        assert {code_of(one.result(), 415) for one in (first, second)} == {"photo-format"}
    ((kept,),) = api.execute("SELECT started_at FROM idempotent_requests")
    assert kept > started_at


def test_old_responses_are_deleted(api: Served) -> None:
    headers = api.key("enroll")
    for number in ("1", "2"):
        body = {"email": f"a{number}@example.org"}
        assert api.client.post(USERS, json=body, headers=headers | {"Idempotency-Key": number}).status_code == 201
        api.execute("UPDATE idempotent_requests SET started_at = now() - interval '25 hours'")
    assert api.idempotent() == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_invalid_key(api: Served, key: str) -> None:
    headers = api.key("enroll") | {"Idempotency-Key": key}
    refused = api.client.post(USERS, json={"email": "ana@example.org"}, headers=headers)
    assert code_of(refused, 422) == "invalid-request"
    assert api.gallery.users() == []


def test_a_stored_response_is_deleted_with_its_photo(api: Served, photos: Photos) -> None:
    person = api.person()
    headers = person.headers | {"Idempotency-Key": "once"}
    photo = enroll_own(api, person.id, headers, photos("Colin_Powell", 1)).json()["photo_id"]
    assert api.idempotent() == 1
    api.client.delete(f"{V1}/users/{person.id}/photos/{photo}", headers=person.headers)
    assert api.idempotent() == 0
