"""Who may use the door for CompreFace's clients: every operation with every kind of credentials."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from pgface import Galleries
from pgface.accounts import Client, list_keys, read_audit, revoke_key
from pgface.accounts.compreface_keys import SERVICES, create_compreface_key, find_compreface_key
from pgface.errors import AccountError, UnknownGalleryError
from pgface.gallery import Gallery
from pgface.server.app import create_app
from pgface.server.compat.compreface.middleware import OPERATIONS, PATHS
from support.commands import Run
from support.compreface import UNKNOWN_ID, Caller, caller
from support.photos import Photos
from support.sentences.accounts import NO_SUCH_SERVICE
from support.web_service import V1, Headers, Served, bearer, file

PATH_OF = {
    operation.name: operation.path.pattern.removesuffix("/?")
    .replace("(?P<subject>.+?)", "Tony")
    .replace("(?P<image_id>[^/]+)", UNKNOWN_ID)
    for operation in OPERATIONS
}
WITH_HEADER = [operation for operation in OPERATIONS if PATH_OF[operation.name].split("/")[3] in SERVICES]


def test_the_paths_are_not_those_of_another_api(api: Served) -> None:
    paths = api.app.openapi()["paths"]
    assert not [path for path in paths if path.startswith(tuple(f"{V1}/{first}" for first in PATHS))]


@pytest.mark.parametrize("operation", WITH_HEADER, ids=lambda operation: operation.name)
def test_every_operation_with_every_kind_of_credentials(api: Served, photos: Photos, operation: object) -> None:
    method, name = operation.method, operation.name  # type: ignore[attr-defined]
    path = PATH_OF[name]
    service = path.split("/")[3]
    title = service.capitalize()
    keys = {one: caller(api, one).key for one in SERVICES}
    revoked = Caller(api, service, caller(api, service).key)
    found = find_compreface_key(api.owner.database, uuid.UUID(revoked.key))
    assert found is not None
    revoke_key(api.owner.database, found.id, Client())
    person = api.administrator()
    unknown = str(uuid.uuid4())
    wrong = [keys[one] for one in SERVICES if one != service] + [revoked.key, unknown]
    malformed = ["x", "", "x" * 36, keys[service][:-1], api.new_key("admin")[0], person.token]
    refused: list[tuple[Headers, int, int, str]] = [
        *(({"x-api-key": key}, 404, 10, f"{title} service with API Key {key} not found") for key in wrong),
        *(({"x-api-key": key}, 400, 26, "Service API key should be UUID") for key in malformed),
        *((headers, 400, 20, "Missing header: x-api-key") for headers in ({}, person.headers, person.cookie)),
    ]
    before = api.contents()
    for headers, status, code, message in refused:
        # The caller is refused before the body, which is too large.
        answer = api.client.request(method, path, headers=headers | {"content-length": "99999999"})
        assert (answer.status_code, answer.json()) == (status, {"message": message, "code": code}), headers
    assert api.contents() == before
    upload = {"file": file(photos("Tony_Blair", 2).read_bytes())}
    admitted = api.client.request(
        method, path, headers={"x-api-key": keys[service].upper()}, files=upload if method == "POST" else None
    )
    assert admitted.status_code < 500
    assert admitted.status_code == 200 or admitted.json()["code"] not in (10, 20), admitted.text


@pytest.fixture
def galleries(api: Served) -> Iterator[Galleries]:
    """The registry of the service's galleries, with the galleries `a` and `b`."""
    galleries = Galleries(api.owner)
    for name in ("a", "b"):
        galleries.create(name)
    yield galleries
    for info in galleries.list():
        galleries.delete(info.name)


def test_a_key_sees_only_its_gallery(api: Served, galleries: Galleries, photos: Photos) -> None:
    photo = photos("Tony_Blair", 2).read_bytes()
    a, b, default = (caller(api, gallery=name) for name in ("a", "b", None))
    example = a.add("Tony", photo)
    embedding = galleries["a"].faces(photo)[0].embedding.tolist()
    upload = {"file": file(photo)}
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/subjects", {}),
        ("PUT", "/subjects/{subject}", {"json": {"subject": "x"}}),
        ("DELETE", "/subjects/{subject}", {}),
        ("DELETE", "/subjects", {}),
        ("GET", "/faces", {}),
        ("GET", "/faces?subject={subject}", {}),
        ("DELETE", "/faces?subject={subject}", {}),
        ("DELETE", "/faces", {}),
        ("DELETE", "/faces/{example}", {}),
        ("POST", "/faces/delete", {"json": ["{example}"]}),
        ("GET", "/faces/{example}/img", {}),
        ("POST", "/faces/{example}/verify", {"files": upload}),
        ("POST", "/recognize", {"files": upload}),
        ("POST", "/embeddings/recognize", {"json": {"embeddings": [embedding]}}),
        ("POST", "/embeddings/faces/{example}/verify", {"json": {"embeddings": [embedding]}}),
    ]
    for other in (b, default):
        for method, path, arguments in attempts:
            answers = []
            for ids in ({"subject": "Tony", "example": example}, {"subject": "Nnnn", "example": UNKNOWN_ID}):
                sent = {"json": [ids["example"]]} if path == "/faces/delete" else arguments
                answer = other.send(method, path.format(**ids), **sent)
                answers.append(
                    (answer.status_code, answer.text.replace(ids["subject"], "").replace(ids["example"], ""))
                )
            assert answers[0] == answers[1], (method, path)
    static = api.client.get(f"{V1}/static/{b.key}/images/{example}")
    assert static.content == b""
    assert a.done("GET", "/subjects") == {"subjects": ["Tony"]}
    assert a.done("GET", "/faces")["faces"] == [{"image_id": example, "subject": "Tony"}]
    # The same name and the same photo are something else in each gallery.
    assert b.add("Tony", photo) != example
    for one in (a, b):
        (face,) = one.done("POST", "/recognize?prediction_count=5", files=upload)["result"]
        assert len(face["subjects"]) == 1
    assert default.done("GET", "/subjects") == {"subjects": []}
    (entry, *_) = read_audit(galleries["a"].database)
    assert (entry.event, entry.actor) == ("photo enrolled", f"operator key {_id_of(api, a)}")


def _id_of(api: Served, one: Caller) -> int:
    found = find_compreface_key(api.owner.database, uuid.UUID(one.key))
    assert found is not None
    return found.id


def test_a_key_stays_with_its_gallery(api: Served, galleries: Galleries) -> None:
    key = caller(api, gallery="a")
    key.done("POST", "/subjects", 201, json={"subject": "Tony"})
    galleries.rename("a", "c")
    galleries.create("a")
    assert key.done("GET", "/subjects") == {"subjects": ["Tony"]}
    galleries.delete("c")
    unknown = f"Recognition service with API Key {key.key} not found"
    assert key.error("GET", "/subjects") == (404, 10, unknown)
    with pytest.raises(UnknownGalleryError):
        caller(api, gallery="c")
    # An archive of the default gallery has keys of galleries that are not there after a restore.
    restored = caller(api, gallery="b")
    api.execute("UPDATE compreface_keys SET gallery = 'not restored' WHERE key_id = %s", _id_of(api, restored))
    unknown = f"Recognition service with API Key {restored.key} not found"
    assert restored.error("GET", "/subjects") == (404, 10, unknown)
    # The paths of a named gallery have no door, so that a key has only one gallery.
    path = f"{V1}/galleries/b/recognition/subjects"
    assert api.client.get(path, headers=caller(api).headers).status_code == 404


def test_a_key_in_a_path_needs_its_service(api: Served) -> None:
    for key, code in ((caller(api, "detection").key, 10), (str(uuid.uuid4()), 10), ("x", 26)):
        answer = api.client.get(f"{V1}/static/{key}/images/{UNKNOWN_ID}")
        assert answer.json()["code"] == code


def test_a_key_opens_no_other_api(api: Served, photos: Photos) -> None:
    upload = {"photo": file(photos("Tony_Blair", 2).read_bytes())}
    for service in SERVICES:
        headers = bearer(caller(api, service).key)
        for method, path in (("GET", "/users"), ("POST", "/identify"), ("GET", "/auth/me"), ("GET", "/keys")):
            answer = api.client.request(method, f"{V1}{path}", headers=headers, files=upload)
            assert answer.status_code in (401, 404), (service, path)


def test_pages_of_other_sites_may_call_it(api: Served) -> None:
    """The key is in a header that only the page's own code can set, and no cookie is read."""
    preflight = api.client.options(f"{V1}/recognition/recognize", headers={"Origin": "https://example.org"})
    assert preflight.status_code == 204
    assert "x-api-key" in preflight.headers["access-control-allow-headers"]
    answers = (preflight, caller(api).send("GET", "/subjects"), api.client.get(f"{V1}/recognition/subjects"))
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"*"}
    assert "access-control-allow-credentials" not in preflight.headers
    assert "access-control-allow-origin" not in api.client.get(f"{V1}/openapi.json").headers


def test_it_is_off_by_default(gallery: Gallery) -> None:
    client = TestClient(create_app(gallery))
    for operation in OPERATIONS:
        answer = client.request(operation.method, PATH_OF[operation.name])
        assert answer.status_code == 404, operation.name
        assert answer.headers["content-type"] == "application/problem+json"


def test_commands(run: Run, gallery: Gallery) -> None:
    created = run("keys", "create", "door", "--compreface", "recognition").stdout.strip()
    found = find_compreface_key(gallery.database, uuid.UUID(created))
    assert found is not None
    assert (found.service, found.gallery) == ("recognition", None)
    assert "compreface-recognition" in run("keys", "list").stdout
    run("keys", "revoke", found.id)
    run("galleries", "create", "staff")
    of_staff = run("keys", "create", "door", "--compreface", "detection", "--gallery", "staff").stdout.strip()
    found_of_staff = find_compreface_key(gallery.database, uuid.UUID(of_staff))
    assert found_of_staff is not None
    assert (found_of_staff.service, found_of_staff.gallery) == ("detection", "staff")
    assert find_compreface_key(gallery.database, uuid.UUID(created)) is None
    assert NO_SUCH_SERVICE in run("keys", "create", "door", "--compreface", "x", code=1).stderr
    for options in ((), ("--scope", "identify", "--compreface", "detection")):
        assert "give either --scope or --compreface" in run("keys", "create", "door", *options, code=2).stderr


def test_a_key_of_an_installation_can_move_here(gallery: Gallery) -> None:
    key = uuid.uuid4()
    for _ in range(2):
        text, about = create_compreface_key(gallery.database, "moved", "detection", Client(), key=key)
        assert (text, about.id) == (str(key), 1)
    with pytest.raises(AccountError, match="already one of another service"):
        create_compreface_key(gallery.database, "moved", "recognition", Client(), key=key)
    assert len(list_keys(gallery.database)) == 1
