"""The Python client has a method for every operation of the service, and reads every documented response."""

from __future__ import annotations

import inspect
import io
import json
import pickle
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, BinaryIO, assert_type, cast

import httpx
import pydantic_core
import pytest

from pgface import errors as library
from pgface.client import (
    AsyncClient,
    Challenge,
    Client,
    ClientError,
    ConflictError,
    Identification,
    LivenessStep,
    NewKey,
    NewLogin,
    PhotoRefusedError,
    PhotoSource,
    ProblemError,
    UnexpectedResponseError,
    UnreachableError,
    User,
    errors,
    operations,
    retries,
)
from pgface.client.calls import Call
from pgface.client.retries import Attempts, unreachable
from pgface.errors import PgfaceError, PhotoNotReadableError
from pgface.server.errors import code_of, known_problems
from pgface.server.openapi import operations as operations_of
from pgface.server.openapi import schema_of
from pgface.system.extras import how_to_install
from support.openapi import document

URL = "http://faces.test"
KEY = "pgface_secret-key"
PHOTO = b"the bytes of a photo"
DOCUMENT = document()
OPERATIONS = {
    operation["operationId"]: (method, path, operation) for method, path, operation in operations_of(DOCUMENT)
}
NOT_SENT = {"token_type_hint"}
"""Fields that the service ignores."""
JSON = "application/json"
ZIP = "application/zip"

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, **options: Any) -> Client:
    return Client(URL, KEY, http=httpx.Client(transport=httpx.MockTransport(handler)), **options)


def properties(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an operation's body."""
    content = operation.get("requestBody", {}).get("content", {}).get(JSON)
    found: dict[str, Any] = schema_of(DOCUMENT, content)["properties"] if content else {}
    return found


def arguments(operation: dict[str, Any]) -> dict[str, Any]:
    """Return an argument for every parameter and field of an operation."""
    found: dict[str, Any] = {
        one["name"].lower().replace("-", "_"): 12 if one["schema"].get("type") in ("integer", "number") else "a"
        for one in operation.get("parameters", [])
    }
    if ZIP in operation.get("requestBody", {"content": ()})["content"]:
        found["archive"] = PHOTO
    for name, field in properties(operation).items():
        content = operation["requestBody"]["content"][JSON]
        example = schema_of(DOCUMENT, content)["examples"][0].get(name, field.get("default"))
        found[name] = example
        if field.get("contentEncoding") == "base64":
            found[name] = PHOTO
        elif field.get("items", {}).get("contentEncoding") == "base64":
            found[name] = [PHOTO, PHOTO]
    return {name: value for name, value in found.items() if name not in NOT_SENT}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_a_method_with_all_its_parameters(name: str) -> None:
    parameters = inspect.signature(getattr(Client, name)).parameters.keys() - {"self"}
    assert parameters == set(arguments(OPERATIONS[name][2]))
    assert inspect.signature(getattr(AsyncClient, name)) == inspect.signature(getattr(Client, name))
    assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__ == getattr(operations, name).__doc__


def responses(operation: dict[str, Any]) -> Iterator[tuple[httpx.Response, Any]]:
    """Yield an operation's successful responses, and their JSON."""
    for status, response in operation["responses"].items():
        if status < "300":
            content = response.get("content", {})
            if JSON in content:
                example = schema_of(DOCUMENT, content[JSON])["examples"][0]
                yield httpx.Response(int(status), json=example), example
            else:
                headers = {"content-type": next(iter(content))} if content else {}
                yield httpx.Response(int(status), content=b"content", headers=headers), None


def comparable(example: Any, result: Any) -> tuple[Any, Any]:
    """Return the example of a response and the result of the client in the same form."""
    found = pydantic_core.to_jsonable_python(result)
    if not is_dataclass(result):  # the client returns the only field
        (example,) = example.values()
    elif "items" in found:
        found[page_of(example)] = found.pop("items")
    return example, found


def page_of(example: dict[str, Any]) -> str:
    (name,) = example.keys() - {"next_cursor"}
    return name


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_request_and_its_documented_responses(name: str) -> None:
    method, path, operation = OPERATIONS[name]
    for response, example in responses(operation):
        seen: list[httpx.Request] = []

        def respond(
            request: httpx.Request, response: httpx.Response = response, seen: list[httpx.Request] = seen
        ) -> httpx.Response:
            seen.append(request)
            return response

        given = arguments(operation)
        result = getattr(client(respond), name)(**given)
        (request,) = seen
        assert (request.method, request.url.path) == (method, path.format(**given))
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if "archive" in given:
            assert request.content == PHOTO
            assert request.headers["content-type"] == "application/octet-stream"
            continue
        check_body(request, {field: given[field] for field in properties(operation) if field not in NOT_SENT})
        if example is None:
            assert result in (None, "content", b"content")
        else:
            expected, found = comparable(example, result)
            assert found == expected


def check_body(request: httpx.Request, fields: dict[str, Any]) -> None:
    """Check that a request has all of these fields that have a value."""
    fields = {name: value for name, value in fields.items() if value is not None}
    if not fields:
        assert request.content == b""
    elif request.headers["content-type"] == JSON:
        assert json.loads(request.content) == fields
    else:
        for name, value in fields.items():
            count = len(value) if isinstance(value, list) else 1
            assert request.content.count(f'; name="{name}"'.encode()) == count, name


def test_a_gallery_is_in_the_path() -> None:
    paths: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json={"status": "ok", "users": []})

    service = client(respond).using(gallery="staff")
    service.list_users()
    service.healthz()
    Client(f"{URL}/faces/", http=service._http, gallery="a.b").list_users()
    assert paths == ["/api/v1/galleries/staff/users", "/healthz", "/faces/api/v1/galleries/a.b/users"]
    assert repr(service) == f"Client({URL!r}, gallery='staff')"


@pytest.mark.parametrize(
    ("url", "key", "gallery"),
    [
        ("faces.test", KEY, None),
        ("ftp://faces.test", KEY, None),
        ("http://", KEY, None),
        ("http://[::1", KEY, None),
        ("http://\udcff", KEY, None),
        (f"http://user:{KEY}@faces.test", None, None),
        (f"{URL}?key={KEY}", None, None),
        (URL, f"{KEY}\n", None),
        (URL, f"{KEY}é", None),
        (URL, "", None),
        (URL, KEY, ".."),
        (URL, KEY, "a/b"),
        (URL, KEY, ""),
        (URL, KEY, "x" * 256),
    ],
)
def test_an_address_that_cannot_be_used(url: str, key: str | None, gallery: str | None) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ClientError) as raised:
            kind(url, key, gallery=gallery)
        assert KEY not in str(raised.value)


def test_the_names_of_photos(tmp_path: Path) -> None:
    path = tmp_path / "alice.jpg"
    path.write_bytes(PHOTO)
    with path.open("rb") as opened:
        for photo, name in ((path, "alice.jpg"), (str(path), "alice.jpg"), (opened, "alice.jpg"), (PHOTO, "photo")):
            source: PhotoSource = photo
            (field,) = operations.identify(source).arguments()["files"]
            assert field == ("photo", (name, PHOTO))
    in_memory = cast(BinaryIO, io.BytesIO(PHOTO))
    assert operations.detect(in_memory).arguments()["files"] == [("photo", ("photo", PHOTO))]


def test_photos_that_cannot_be_read(tmp_path: Path) -> None:
    for photo in (tmp_path / "missing.jpg", tmp_path, "/dev/null", "a\0b", io.StringIO("text"), 5):
        call = operations.identify(cast(PhotoSource, photo))
        with pytest.raises(PhotoNotReadableError):
            call.arguments()


def test_a_name_of_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a\udcff\n.jpg"
    path.write_bytes(PHOTO)
    seen: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(200, json={"faces": []})

    assert client(respond).detect(path) == ()
    assert b'filename="a?%0A.jpg"' in seen[0]


@pytest.mark.parametrize(
    "call",
    [
        operations.log_in("ana@example.org", f"{KEY}\udcff"),
        operations.log_in("ana@example.org", cast(str, KEY.encode())),
        operations.list_users(f"{KEY}\udcff"),
        operations.verify(PHOTO, name=f"{KEY}\udcff"),
        operations.identify(PHOTO, threshold=float("nan")),
    ],
)
def test_values_that_cannot_be_sent(call: Call[Any]) -> None:
    with pytest.raises(ClientError) as raised:
        client(lambda _: httpx.Response(500)).send(call)
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_the_time_limit_begins_after_the_wait_of_the_service() -> None:
    limits: list[Any] = []

    def respond(request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"events": [], "next_cursor": "x"})

    service = client(respond)
    service.list_events(wait=20)
    service.list_events()
    assert limits == [25, 5]


# Errors


def test_the_docstring_shows_the_tree_of_errors() -> None:
    drawn = [line.rpartition(" ")[2] for line in (errors.__doc__ or "").splitlines() if line.endswith("Error")]
    found = [
        kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PgfaceError)
    ]
    assert sorted(drawn) == sorted(found)


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": f"/problems#{code}", "title": "A title", "status": status, "detail": "A detail.", "code": code}
    body |= {"request_id": "abc", "errors": [{"field": "photo", "detail": "missing"}], "later": 1}
    return httpx.Response(
        status,
        json=body,
        headers={"content-type": "application/problem+json", **headers},
        request=httpx.Request("GET", URL),
    )


@pytest.mark.parametrize(("code", "status"), [(code, status) for code, status, _ in known_problems()])
def test_every_problem_is_an_error(code: str, status: int) -> None:
    raised = errors.error_of(problem(status, code, **{"retry-after": "7"}))
    assert isinstance(raised, ProblemError)
    kinds = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 429: "TooManyRequests"}
    by_status = kinds.get(status, "ServiceFailed" if status >= 500 else "InvalidRequest")
    assert type(raised).__name__ in (f"{by_status}Error", "PhotoRefusedError")
    assert isinstance(raised, PhotoRefusedError) == (
        code in {one for one, _, _ in known_problems() if is_of_a_photo(one)}
    )
    assert (raised.code, raised.status, raised.retry_after, str(raised)) == (code, status, 7, "A detail.")
    assert raised.problem.errors == (errors.FieldProblem("photo", "missing"),)
    again = pickle.loads(pickle.dumps(raised))  # noqa: S301 - written here
    assert (type(again), again.problem, again.retry_after) == (type(raised), raised.problem, 7)


def is_of_a_photo(code: str) -> bool:
    kinds = [kind for kind in vars(library).values() if isinstance(kind, type) and issubclass(kind, library.PhotoError)]
    return code in {code_of(kind) for kind in kinds}


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(502, text="<html>Bad gateway"),
        httpx.Response(301, headers={"location": "http://elsewhere.test"}),
        httpx.Response(500, json={"detail": "no"}, headers={"content-type": "application/problem+json"}),
        httpx.Response(200, text="<html>Log in to this network"),
        httpx.Response(200, json={"users": [{"id": "x"}]}),
        httpx.Response(200, json={"users": [], "next_cursor": None, "id": KEY}),
    ],
)
def test_a_response_that_is_not_of_pgface(response: httpx.Response) -> None:
    with pytest.raises(UnexpectedResponseError) as raised:
        client(lambda _: response, retries=0).get_user(1)
    assert raised.value.status == response.status_code
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("body", ['{"active": "yes"}', '{"active": 1}', '{"active": null}', "{}", "[]", "true"])
def test_a_token_is_active_only_if_the_response_says_true(body: str) -> None:
    with pytest.raises(UnexpectedResponseError):
        client(lambda _: httpx.Response(200, text=body)).introspect(KEY)


@pytest.mark.parametrize(
    "call", [operations.delete_user(1), operations.get_crop(1, 1), operations.get_metrics(), operations.get_status()]
)
def test_a_page_of_a_proxy_is_not_a_success(call: Call[Any]) -> None:
    with pytest.raises(UnexpectedResponseError):
        client(lambda _: httpx.Response(200, html="<p>Log in to this network")).send(call)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        (" 0 ", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert errors.error_of(problem(503, "service-busy", **{"retry-after": value})).retry_after == seconds


# What is sent again


READ = operations.get_status()
QUESTION = operations.identify(PHOTO)
CREATION = operations.create_user("ana@example.org")
CHANGE = operations.delete_user(1)


def delay_of(call: Call[Any], failure: ClientError) -> float | None:
    """Return the delay after the first attempt. None if the call is not sent again."""
    try:
        return Attempts(call, 1).delay_after(failure)
    except ClientError:
        return None


CALLS: list[Call[Any]] = [READ, QUESTION, CREATION, CHANGE]


@pytest.mark.parametrize(
    ("status", "code", "repeated"),
    [
        (503, "service-busy", [READ, QUESTION, CREATION]),
        (429, "too-many-attempts", [READ, QUESTION, CREATION]),
        (409, "request-repeated", [READ, QUESTION, CREATION, CHANGE]),
        (409, "duplicate-email", []),
        (422, "no-face", []),
        (500, "internal", []),
        (503, "work-timeout", []),
    ],
)
def test_which_problems_are_sent_again(status: int, code: str, repeated: list[Call[Any]]) -> None:
    failure = errors.error_of(problem(status, code))
    assert [call for call in CALLS if delay_of(call, failure) is not None] == repeated


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (httpx.ConnectError("refused"), [READ, QUESTION, CREATION, CHANGE]),
        (httpx.ConnectTimeout("slow"), [READ, QUESTION, CREATION, CHANGE]),
        (httpx.RemoteProtocolError("disconnected"), [READ, QUESTION, CREATION]),
        (httpx.ReadError("reset"), [READ, QUESTION, CREATION]),
        (httpx.ReadTimeout("slow"), []),
        (httpx.DecodingError("bad"), []),
    ],
)
def test_which_lost_connections_are_sent_again(error: httpx.RequestError, repeated: list[Call[Any]]) -> None:
    failure = unreachable(error, URL)
    assert [call for call in CALLS if delay_of(call, failure) is not None] == repeated


def test_a_wrong_certificate_is_not_tried_again() -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError()
    assert delay_of(READ, unreachable(error, URL)) is None


def test_delays_grow_and_are_bounded() -> None:
    lost = unreachable(httpx.ConnectError("refused"), URL)
    attempts = Attempts(READ, 9)
    for number in range(9):
        most = min(8, 0.5 * 2**number)
        assert most / 2 <= attempts.delay_after(lost) <= most
    with pytest.raises(UnreachableError):
        attempts.delay_after(lost)
    for asked, low, high in ((0, 0.375, 0.5), (7, 7.125, 7.25)):
        delay = delay_of(READ, errors.error_of(problem(503, "service-busy", **{"retry-after": str(asked)})))
        assert delay is not None
        assert low <= delay <= high
    assert delay_of(READ, errors.error_of(problem(429, "too-many-attempts", **{"retry-after": "61"}))) is None


def test_a_request_that_is_still_running_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    running = errors.error_of(problem(409, "request-repeated", **{"retry-after": "1"}))
    attempts = Attempts(CREATION, 1)
    for _ in range(20):
        assert attempts.delay_after(running) < 10
    monkeypatch.setattr(retries, "_MAX_RUNNING", 0)
    for refused in (attempts, Attempts(CREATION, 0)):
        with pytest.raises(ConflictError):
            refused.delay_after(running)


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 256, "a\nb"])
def test_an_idempotency_key_that_no_header_can_carry(key: str) -> None:
    with pytest.raises(ClientError):
        operations.create_user("ana@example.org", idempotency_key=key)


# Secrets and imports


def test_no_representation_shows_a_secret() -> None:
    calls: list[Any] = [
        operations.log_in("ana@example.org", KEY),
        operations.introspect(KEY),
        operations.identify(KEY.encode()),
        operations.create_user("ana@example.org", idempotency_key=KEY),
        Client(URL, KEY),
        AsyncClient(URL, KEY),
        Client(URL, KEY)._destination,
    ]
    assert KEY not in repr(calls)
    about = {"id": 1, "name": "n", "scopes": [], "created_at": "2026-05-04T08:00:00Z"}
    example = {"key": KEY, "about": about | {"last_used_at": None, "revoked_at": None, "all_galleries": False}}
    created = client(lambda _: httpx.Response(201, json=example)).create_api_key("n", ["verify"])
    assert isinstance(created, NewKey)
    assert created.key == KEY
    assert KEY not in repr(created)


def test_a_traceback_shows_no_key() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ClientError) as raised:
        client(refuse, retries=0).get_status()
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_the_client_imports_no_engine_and_no_database() -> None:
    program = "import pgface.client, sys; print({'numpy', 'cv2', 'psycopg', 'fastapi'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_without_httpx_the_error_says_how_to_install_it() -> None:
    program = "import sys; sys.modules['httpx'] = None; import pgface.client"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert how_to_install("client") in done.stderr


def typed(service: Client) -> None:
    """Is read by mypy only: the methods have the types of their functions, and mistakes are found."""
    assert_type(service.identify("a.jpg", top=3), Identification)
    assert_type(service.list_users().items, tuple[User, ...])
    assert_type(service.iter_users(), Iterator[User])
    assert_type(service.log_in_by_face("x", []), NewLogin | Challenge)
    assert_type(service.answer_liveness_session("x", []), LivenessStep)
    service.identify("a.jpg", limit=3)  # type: ignore[call-arg]
    service.verify(5)  # type: ignore[arg-type]
    service.verify("a.jpg", face="biggest")  # type: ignore[arg-type]


async def typed_async(service: AsyncClient) -> None:
    """Is read by mypy only."""
    assert_type(await service.identify("a.jpg", top=3), Identification)
    assert_type(service.iter_users(), AsyncIterator[User])
