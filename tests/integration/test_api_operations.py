"""Health checks, metrics, and problems of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from PIL import Image, ImageOps
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgface import errors
from pgface.database.sql import migrations
from pgface.errors import DatabaseUnreachableError, ModelNotInstalledError, PgfaceError, StorageError
from pgface.gallery import Gallery
from pgface.server import metrics
from support.photos import Photos
from support.pictures import encoded
from support.sentences import api as says
from support.web_service import PASSWORD, V1, Headers, Served, code_of, file

Values = dict[tuple[str, tuple[str, ...]], float]


@contextmanager
def without_database(served: Served, server: str) -> Iterator[None]:
    """Let the database refuse connections, and end the open ones."""
    url = served.owner.settings.database_url
    assert url
    name = str(conninfo_to_dict(url.get_secret_value())["dbname"])
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
            with suppress(DatabaseUnreachableError):  # replaces the ended connections of the owner
                served.execute("SELECT 1")


def test_health_without_a_database(served: Served, postgres: str) -> None:
    assert served.client.get("/healthz").json() == {"status": "ok"}
    assert served.client.get("/readyz").json() == {
        "ready": True,
        "database": True,
        "schema_current": True,
        "model": True,
        "replica": None,
    }
    headers = served.key("admin")
    with without_database(served, postgres):
        assert served.client.get("/healthz").json() == {"status": "ok"}
        away = served.client.get("/readyz")
        assert (away.status_code, away.json()["database"], away.json()["model"]) == (503, False, True)
        refused = served.client.get(f"{V1}/status", headers=headers)
        assert code_of(refused, 503) in ("database", "database-unreachable", "database-access")
        assert refused.headers["retry-after"] == "5"
        assert refused.json()["detail"] == says.NOT_AT_THE_MOMENT
        assert "allow" not in refused.text
    assert served.client.get("/readyz").status_code == 200
    assert served.client.get(f"{V1}/status", headers=headers).status_code == 200


@pytest.mark.parametrize("change", [-1, 1])
def test_tables_of_another_version(served: Served, change: int) -> None:
    newest = migrations()[-1].version
    served.execute("UPDATE pgface_migrations SET version = %s WHERE version = %s", newest + 100 * change, newest)
    try:
        found = served.client.get("/readyz")
        assert (found.status_code, found.json()["database"], found.json()["schema_current"]) == (503, True, False)
        assert served.client.get("/healthz").status_code == 200
    finally:
        served.execute("UPDATE pgface_migrations SET version = %s WHERE version = %s", newest, newest + 100 * change)
    assert served.client.get("/readyz").status_code == 200


# Metrics


def values(api: Served, headers: Headers) -> Values:
    answer = api.client.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics(api: Served, photos: Photos) -> None:
    headers = api.key("metrics", "identify", "enroll")
    # No other test uses this picture. Embeddings are cached for all tests.
    mirrored = encoded(ImageOps.mirror(Image.open(photos("Tony_Blair", 2))), "PNG")
    metrics.observe()  # as a second service in this process would: a stage still counts once
    before = values(api, headers)
    api.client.post(f"{V1}/identify", files={"photo": file(mirrored)}, headers=headers)
    api.client.post(f"{V1}/auth/login", json={"email": "x@example.org", "password": "x"})
    person = api.person()
    api.client.post(f"{V1}/auth/login", json={"email": person.email, "password": PASSWORD})
    api.client.get(f"{V1}/users/{person.id}/../../secret-{person.email}")
    api.client.request("BREW", f"{V1}/users")
    after = values(api, headers)

    def grown(name: str, *labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    for stage in ("decode", "detect", "embed", "search"):
        assert grown("pgface_stage_seconds_count", stage) == 1, stage
    assert grown("pgface_logins_total", "password", "refused") == 1
    assert grown("pgface_logins_total", "password", "done") == 1
    assert grown("pgface_request_seconds_count", "POST", "identify", "200") == 1
    assert grown("pgface_request_seconds_count", "POST", "log_in", "401") == 1
    assert grown("pgface_request_seconds_count", "GET", "unknown", "404") == 1
    assert sum(grown(name, *labels) for name, labels in after if labels[:1] == ("OTHER",) and "count" in name) == 1
    assert grown("pgface_request_seconds_count", "GET", "get_metrics", "200") == 1
    for name in ("pgface_photos_waiting", "pgface_photos_in_work", "pgface_passwords_in_work"):
        assert after[name, ()] == 0
    assert after["pgface_passwords_waiting", ()] == 0
    for name in ("pgface_users", "pgface_embeddings", "pgface_busy_total"):
        assert after[name, ()] >= 0
    runtimes = api.gallery.status().runtimes or {}
    assert len(runtimes) == 2
    for step, runtime in runtimes.items():
        assert after["pgface_runtime", (runtime, step)] == 1
    assert after["pgface_runtime", ("ONNX Runtime (CPU)", "detection")] == 1
    assert person.email not in str(after)


# Problems


def test_an_unexpected_error_reveals_nothing(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of /var/lib/pgface")

    monkeypatch.setattr(Gallery, "status", fail)
    answer = api.client.get(f"{V1}/status", headers=api.key("admin"))
    assert code_of(answer, 500) == "internal"
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnreachableError("postgresql://user:password@host does not answer"),
        ModelNotInstalledError("/var/lib/pgface/models is empty"),
        StorageError("/var/lib/pgface/photos: no space left"),
    ],
)
def test_a_failure_of_the_service_reveals_nothing(
    api: Served, monkeypatch: pytest.MonkeyPatch, error: PgfaceError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Gallery, "status", fail)
    answer = api.client.get(f"{V1}/status", headers=api.key("admin"))
    code_of(answer, 503)
    assert answer.json()["detail"] == says.NOT_AT_THE_MOMENT
    assert answer.headers["retry-after"] == "5"
    assert "pgface/" not in answer.text
    assert "password" not in answer.text


def test_every_error_has_a_code_and_a_status() -> None:
    from pgface.server.errors import code_of as code
    from pgface.server.errors import known_problems

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PgfaceError)]
    known = known_problems()
    assert [number for number, _, _ in known][: len(kinds)] == [code(kind) for kind in kinds]
    assert len({number for number, _, _ in known}) == len(known)
    assert all(400 <= status < 600 for _, status, _ in known)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", f"{V1}/nowhere/%00/..%2f", 404, "not-found"),
        ("GET", "/static/%00", 404, "not-found"),
        ("GET", "/static/..%2f..%2fapp.py", 404, "not-found"),
        ("GET", "/static/" + "x" * 5000, 404, "not-found"),
        ("PUT", f"{V1}/users", 405, "method-not-allowed"),
        ("BREW", f"{V1}/users", 405, "method-not-allowed"),
        ("POST", "/healthz", 405, "method-not-allowed"),
    ],
)
def test_an_unknown_path_or_method(api: Served, method: str, path: str, status: int, code: str) -> None:
    from pgface.server.errors import known_problems

    answer = api.client.request(method, path)
    assert code_of(answer, status) == code
    assert (code, status, answer.json()["detail"]) in known_problems()
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/api", "/api/", "/api/v1", "/api/v2/users"])
def test_a_path_where_clients_look_for_the_api_names_its_document(api: Served, path: str) -> None:
    for accept in ("*/*", "text/html"):
        answer = api.client.get(path, headers={"Accept": accept})
        assert code_of(answer, 404) == "not-found"
        assert says.WHERE_THE_DOCUMENT_IS.format(root="") in answer.json()["detail"]
    assert api.client.get(f"{V1}/openapi.json").status_code == api.client.get("/problems").status_code == 200


def test_every_response_has_security_headers(api: Served) -> None:
    for path in ("/healthz", "/nowhere", f"{V1}/users", f"{V1}/openapi.json", "/static/base.css"):
        headers = api.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"]
        assert headers["x-request-id"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a-1_B.2", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a b", False), ("\xe9", False)],
)
def test_request_ids(api: Served, given: str, kept: bool) -> None:
    raw: Any = [(b"x-request-id", given.encode("latin-1"))]
    answer = api.client.get("/nowhere", headers=raw)
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/login/", "/account/", "//evil.example/login/", "/static", "/admin/gallery/"])
def test_a_redirect_does_not_repeat_the_host_that_a_client_claims(api: Served, path: str) -> None:
    answer = api.client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
    location = answer.headers.get("location", "/")
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert "evil.example" not in location.split("/")[1:2]


def test_metrics_and_status_agree(api: Served, photos: Photos) -> None:
    api.owner.enroll(photos("Colin_Powell", 1), "colin@example.org")
    api.person()
    headers = api.key("metrics", "admin")

    def metrics() -> tuple[float, float]:
        lines = dict(
            line.rsplit(" ", 1)
            for line in api.client.get("/metrics", headers=headers).text.splitlines()
            if line.startswith(("pgface_users", "pgface_embeddings"))
        )
        return float(lines["pgface_users"]), float(lines["pgface_embeddings"])

    status = api.client.get(f"{V1}/status", headers=headers).json()
    assert metrics() == (status["users"], status["embeddings"]) == (2, 1)
    api.execute("ANALYZE users, face_embeddings")
    api.owner.erase_user("colin@example.org")
    assert metrics() == (1, 0)
