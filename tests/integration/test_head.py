"""HEAD requests, which monitors and load balancers send, at every address that accepts GET."""

from __future__ import annotations

import pytest

from support.web_service import V1, Served

READ = ("/healthz", "/readyz", "/login", "/register", "/problems", f"{V1}/openapi.json", "/static/base.css")


@pytest.mark.parametrize("path", READ)
def test_it_is_get_without_the_body(api: Served, path: str) -> None:
    got, asked = api.client.get(path), api.client.head(path)
    assert (asked.status_code, asked.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "content-security-policy"):
        assert asked.headers.get(name) == got.headers.get(name), name


def test_head_needs_the_same_permission(api: Served) -> None:
    person, administrator = api.person(), api.administrator()
    assert api.client.head(f"{V1}/users").status_code == 401
    assert api.client.head(f"{V1}/users", headers=person.headers).status_code == 403
    assert api.client.head(f"{V1}/users", headers=administrator.headers).status_code == 200
    assert api.client.head("/nowhere").status_code == 404


def test_head_does_not_replace_post(api: Served) -> None:
    assert api.client.head(f"{V1}/auth/login").status_code == 405
