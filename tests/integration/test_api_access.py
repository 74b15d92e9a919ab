"""The permissions of every operation of the service, for every kind of caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from support.access import ALL, PERMITTED, WITHOUT_ACCESS, Example, send
from support.web_service import PASSWORD, V1, Served, base64_of, bearer, code_of


def test_every_operation_is_in_the_table(served: Served) -> None:
    documented = {
        (method.upper(), path) for path, methods in served.app.openapi()["paths"].items() for method in methods
    }
    assert documented == set(PERMITTED)


def test_an_undocumented_route_is_a_page(served: Served) -> None:
    found = _routes(served.app.routes)
    assert len(found) > len(PERMITTED)
    hidden = [route for route in found if not route.include_in_schema]
    assert all(route.endpoint.__module__.startswith("pgface.server.web.") for route in hidden)


def _routes(routes: object) -> list[APIRoute]:
    found: list[APIRoute] = []
    for route in routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute):
            found.append(route)
        inner = getattr(route, "original_router", route)
        found += _routes(getattr(inner, "routes", None) or [])
    return found


@pytest.mark.parametrize(("method", "path"), PERMITTED, ids=[" ".join(key) for key in PERMITTED])
def test_permissions(api: Served, method: str, path: str) -> None:
    example = Example(api)
    refused = {caller: example.credentials(caller) for caller in sorted(ALL - PERMITTED[method, path])}
    before = api.contents()
    for caller, headers in refused.items():
        answer = send(example, method, path, headers)
        assert answer.status_code == (401 if caller in WITHOUT_ACCESS else 403), (caller, answer.text)
        assert answer.headers["content-type"] == "application/problem+json", caller
        assert answer.headers.get("www-authenticate", "").startswith("Bearer") == (caller in WITHOUT_ACCESS), caller
        assert "set-cookie" not in answer.headers
    assert api.contents() == before
    for caller in sorted(PERMITTED[method, path]):
        example = Example(api)  # a permitted request may delete it
        answer = send(example, method, path, example.credentials(caller))
        assert answer.status_code not in (401, 403), (caller, answer.text)
        # The photo has no file here.
        assert answer.status_code < 500 or path.endswith("/crop"), (caller, answer.text)


def test_the_header_takes_precedence_over_the_cookie(api: Served) -> None:
    me, other = Example(api).me, Example(api).me
    answer = api.client.get(f"{V1}/auth/me", headers=me.cookie | other.headers)
    assert answer.json()["user"]["id"] == other.id
    assert api.client.get(f"{V1}/auth/me", headers=me.cookie | bearer("x")).status_code == 401


def test_a_request_of_an_own_page_without_fetch_metadata(api: Served) -> None:
    cookie = {"Cookie": Example(api).me.cookie["Cookie"]}
    for origin, host, status in (
        ("http://localhost", "localhost", 200),
        ("https://localhost", "localhost", 200),
        ("http://localhost:81", "localhost", 401),
        ("http://localhost.example.org", "localhost", 401),
        ("http://x@localhost", "localhost", 401),
        ("", "localhost", 401),
        ("", "", 401),
    ):
        headers = cookie | {"Origin": origin, "Host": host}
        assert api.client.get(f"{V1}/auth/me", headers=headers).status_code == status, (origin, host)


def test_an_id_gives_no_access_to_data_of_another_user(api: Served, photos: Callable[[str, int], Path]) -> None:
    mine, theirs = Example(api), Example(api)
    api.gallery.enroll(photos("Tony_Blair", 2), theirs.me.id)
    before = api.contents()
    photo: dict[str, object] = {"photo": base64_of(photos("Tony_Blair", 3).read_bytes())}
    another, own = f"{V1}/users/{theirs.me.id}", f"{V1}/users/{mine.me.id}"
    photo_id, login_id = theirs.ids["photo_id"], theirs.ids["login_id"]
    attempts: list[tuple[str, str, int, dict[str, object] | None]] = [
        ("GET", another, 403, None),
        ("DELETE", another, 403, None),
        ("GET", f"{another}/photos", 403, None),
        ("POST", f"{another}/photos", 403, photo),
        ("GET", f"{another}/photos/{photo_id}/crop", 403, None),
        ("DELETE", f"{another}/photos/{photo_id}", 403, None),
        # A photo of another user, with the own user id.
        ("GET", f"{own}/photos/{photo_id}/crop", 404, None),
        ("DELETE", f"{own}/photos/{photo_id}", 404, None),
        ("DELETE", f"{V1}/auth/logins/{login_id}", 404, None),
        ("POST", f"{V1}/verify", 403, photo | {"user_id": theirs.me.id}),
        ("POST", f"{V1}/verify", 403, photo | {"email": theirs.me.email}),
        ("POST", f"{V1}/verify", 403, photo | {"email": "nobody@example.org"}),
        ("POST", f"{own}/photos", 403, photo | {"allow_other_user": True}),
        ("GET", f"{V1}/users/{2**31 - 1}", 403, None),
        ("GET", f"{V1}/users/0", 403, None),
        ("GET", f"{V1}/users/{mine.me.id}.0", 403, None),
        ("DELETE", f"{V1}/auth/logins/{2**31 - 1}", 404, None),
    ]
    for method, path, status, body in attempts:
        answer = api.client.request(method, path, json=body, headers=mine.me.headers)
        code = code_of(answer, status)
        assert code in ("not-permitted", "unknown-photo", "unknown-login"), (method, path)
        assert theirs.me.email not in answer.text
    assert api.contents() == before


def test_the_own_id_in_other_spellings(api: Served) -> None:
    me = Example(api).me
    for spelling in (f"+{me.id}", f"0{me.id}", f" {me.id}"):
        answer = api.client.get(f"{V1}/users/{spelling}", headers=me.headers)
        assert answer.status_code in (403, 422) or answer.json()["id"] == me.id


def test_a_removed_administrator_has_no_access(api: Served) -> None:
    person = api.administrator()
    assert api.client.get(f"{V1}/users", headers=person.headers).status_code == 200
    api.execute("DELETE FROM administrators")
    assert code_of(api.client.get(f"{V1}/users", headers=person.headers), 403) == "not-permitted"


def test_a_registration_cannot_make_an_administrator(api: Served) -> None:
    person = api.person()
    for field in ("administrator", "is_admin", "role", "id"):
        body = {"email": f"{field}@example.org", "password": PASSWORD, field: True}
        assert code_of(api.client.post(f"{V1}/auth/register", json=body), 422) == "invalid-request"
    assert api.client.get(f"{V1}/auth/me", headers=person.headers).json()["administrator"] is False
