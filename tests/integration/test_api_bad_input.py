"""Invalid requests: each gets a sentence, causes no failure, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from PIL import Image

from pgface.settings import MEBI
from support.photos import Photos
from support.pictures import bomb, encoded, gif, jpeg_of_many_scans, png, png16
from support.web_service import PASSWORD, V1, Served, base64_of, code_of, file

FORM = "multipart/form-data"


@pytest.fixture
def refused(api: Served) -> Iterator[Any]:
    """Return a function that sends a request, which must be refused and must change nothing."""
    headers = api.key("enroll", "identify", "verify", "admin")
    before = api.contents()

    def send(path: str, *codes: str, method: str = "POST", **options: Any) -> Response:
        options["headers"] = headers | options.get("headers", {})
        answer = api.client.request(method, V1 + path, **options)
        assert 400 <= answer.status_code < 500, answer.text
        assert code_of(answer, answer.status_code) in codes
        assert "Traceback" not in answer.text
        assert len(answer.content) < 5_000
        return answer

    yield send
    assert api.contents() == before
    free = api.service.body_budget.free + api.service.anonymous_body_budget.free
    assert free == api.gallery.settings.max_request_bytes_in_flight


BAD_PHOTOS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "photo-format"),
    "text": (lambda _: b"this is no photo" * 100, "photo-format"),
    "html": (lambda _: b"<html><script>alert(1)</script></html>", "photo-format"),
    "svg": (
        lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "photo-format",
    ),
    "pdf": (lambda _: b"%PDF-1.7\n" + b"0" * 2000, "photo-format"),
    "truncated": (lambda photo: photo[:5000], "photo-format"),
    "only a header": (lambda photo: photo[:20], "photo-format"),
    "one pixel": (lambda _: encoded(Image.new("RGB", (1, 1)), "PNG"), "no-face"),
    "a line": (lambda _: encoded(Image.new("RGB", (1, 4000)), "PNG"), "no-face"),
    "another line": (lambda _: encoded(Image.new("RGB", (4000, 1)), "PNG"), "no-face"),
    "16 bits": (lambda _: png16(np.full((60, 60, 1), 40_000, np.uint16), 0), "no-face"),
    "cmyk": (lambda _: encoded(Image.new("CMYK", (60, 60)), "JPEG"), "no-face"),
    "gif": (lambda _: encoded(Image.new("P", (60, 60)), "GIF"), "no-face"),
    "a gif of another size": (lambda _: gif((60_000, 60_000), (1, 1)), "photo-too-large"),
    "a bomb": (lambda _: bomb(), "photo-too-large"),
    "declared larger": (lambda _: png(60_000, 60_000, 8, 2, b""), "photo-too-large"),
    "scans without end": (lambda _: jpeg_of_many_scans(2_000), "photo-format"),
    "too large": (lambda _: b"\xff\xd8\xff" + bytes(31 * MEBI), "request-too-large"),
}
"""Photos that cannot be used, made from a usable one, with the code of the refusal."""


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_bad_photos(refused: Any, photos: Photos, kind: str) -> None:
    make, code = BAD_PHOTOS[kind]
    data = make(photos("Tony_Blair", 2).read_bytes())
    codes = {code, "photo-too-large"} if kind == "too large" else {code}
    refused("/photos", *codes, files={"photo": file(data)}, data={"email": "new@example.org"})
    refused("/photos", *codes, json={"photo": base64_of(data), "email": "new@example.org"})
    if code != "no-face":  # for an identification, it is not an error
        refused("/identify", *codes, files={"photo": file(data)})
        refused("/compare", *codes, json={"photo": base64_of(data), "other": base64_of(data)})


BODIES: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "application/json", "request"),
    "no type": (b"{}", "", "media-type"),
    "text": (b"{}", "text/plain", "media-type"),
    "xml": (b"<photo/>", "application/xml", "media-type"),
    "an image": (b"\xff\xd8\xff", "image/jpeg", "media-type"),
    "a plain form": (b"photo=x", "application/x-www-form-urlencoded", "media-type"),
    "broken json": (b'{"photo": "AA', "application/json", "request"),
    "a list": (b'[{"photo": "AAAA"}]', "application/json", "request"),
    "a text": (b'"AAAA"', "application/json", "request"),
    "null": (b"null", "application/json", "request"),
    "deep": (b'{"photo":' + b"[" * 60_000, "application/json", "request"),
    "deep and whole": (b'{"photo":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "application/json", "request"),
    "no utf-8": (b'{"photo": "\xff\xfe"}', "application/json", "request"),
    "half a character": (b'{"photo": "AAAA", "\\ud800": 1}', "application/json", "request"),
    "not a number": (b'{"photo": "AAAA", "threshold": NaN}', "application/json", "invalid-request"),
    "infinite": (b'{"photo": "AAAA", "threshold": -Infinity}', "application/json", "invalid-request"),
    "too much": (b'{"photo": "AAAA", "threshold": 1e999}', "application/json", "invalid-request"),
    "a long number": (b'{"photo": "AAAA", "top": 1' + b"0" * 50_000 + b"}", "application/json", "request"),
    "a negative number": (b'{"photo": "AAAA", "top": -1}', "application/json", "invalid-request"),
    "a text for a number": (b'{"photo": "AAAA", "top": "3"}', "application/json", "invalid-request"),
    "true for a number": (b'{"photo": "AAAA", "top": true}', "application/json", "invalid-request"),
    "broken base64": (b'{"photo": "AAAAA"}', "application/json", "invalid-request"),
    "base64 with something else": (b'{"photo": "AA*AA"}', "application/json", "invalid-request"),
    "base64 that goes on after its end": (b'{"photo": "AA==AAAA"}', "application/json", "invalid-request"),
    "a data URL without base64": (b'{"photo": "data:image/jpeg,AAAA"}', "application/json", "invalid-request"),
    "utf-16": ('{"photo": "AAAA"}'.encode("utf-16"), "application/json", "request"),
    "utf-16 without a mark": ('{"photo": "AAAA"}'.encode("utf-16-be"), "application/json", "request"),
    "utf-32": ('{"photo": "AAAA"}'.encode("utf-32-le"), "application/json", "request"),
    "no base64": ('{"photo": "é"}'.encode(), "application/json", "invalid-request"),
    "a number for a photo": (b'{"photo": 1}', "application/json", "invalid-request"),
    "a path for a photo": (b'{"photo": "/etc/passwd"}', "application/json", "photo-format"),  # valid base64
    "an address for a photo": (b'{"photo": "http://127.0.0.1/"}', "application/json", "invalid-request"),
    "an object for a photo": (b'{"photo": {"name": "x", "data": "AAAA"}}', "application/json", "invalid-request"),
    "an unknown field": (b'{"photo": "AAAA", "model": "x"}', "application/json", "invalid-request"),
    "an unknown field with a long name": (
        b'{"photo": "AAAA", "' + b"x" * 60_000 + b'": 1}',
        "application/json",
        "invalid-request",
    ),
    "many unknown fields": (
        json.dumps({f"x{number}": 1 for number in range(5_000)}).encode(),
        "application/json",
        "invalid-request",
    ),
    "no boundary": (b"--x--", FORM, "request"),
    "an empty boundary": (b"----", f"{FORM}; boundary=", "request"),
    "a long boundary": (b"", f"{FORM}; boundary={'x' * 71}", "request"),
    "a wrong boundary": (b"--y\r\n\r\n--y--", f"{FORM}; boundary=x", "request"),
    "a form without an end": (
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\nAAAA',
        f"{FORM}; boundary=x",
        "request",
    ),
    "an empty form": (b"--x--\r\n", f"{FORM}; boundary=x", "invalid-request"),
    "a part without a name": (
        b"--x\r\nContent-Disposition: form-data\r\n\r\nA\r\n--x--\r\n",
        f"{FORM}; boundary=x",
        "request",
    ),
    "a part without headers": (b"--x\r\n\r\nA\r\n--x--\r\n", f"{FORM}; boundary=x", "request"),
    "a part with headers without end": (
        b"--x\r\n" + b"X: y\r\n" * 9_000 + b"\r\n--x--\r\n",
        f"{FORM}; boundary=x",
        "request",
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_bad_bodies(refused: Any, kind: str) -> None:
    content, media_type, codes = BODIES[kind]
    refused("/identify", *codes.split(), content=content, headers={"Content-Type": media_type})


def part(name: str, data: bytes, *, filename: str | None = None) -> bytes:
    of_file = "" if filename is None else f'; filename="{filename}"'
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'.encode() + data + b"\r\n"


FORMS: dict[str, tuple[list[bytes], str]] = {
    "two photos": ([part("photo", b"A", filename="x")] * 2, "request"),
    "one as a text": ([part("photo", b"not base64")], "invalid-request"),
    "a field twice": ([part("photo", b"A", filename="x"), part("top", b"1"), part("top", b"2")], "request"),
    "a file for a number": ([part("photo", b"A", filename="x"), part("top", b"1", filename="x")], "invalid-request"),
    "many fields": ([part(f"x{number}", b"1") for number in range(100)], "request"),
    "many files": ([part("frames", b"1", filename="x")] * 200, "request"),
    "a long text": ([part("email", b"x" * 70_000)], "request"),
    "not a number": ([part("photo", b"A", filename="x"), part("threshold", b"NaN")], "invalid-request"),
    "no utf-8": ([part("photo", b"A", filename="x"), part("\xff", b"\xff\xfe")], "invalid-request"),
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("charset", ["", "; charset=utf-7", "; charset=punycode", "; charset=idna", "; charset=x"])
def test_bad_forms(refused: Any, kind: str, charset: str) -> None:
    parts, code = FORMS[kind]
    content = b"".join(parts) + b"--x--\r\n"
    refused("/identify", code, content=content, headers={"Content-Type": f"{FORM}; boundary=x{charset}"})


def test_a_charset_of_the_client_is_ignored(refused: Any) -> None:
    content = part("email", b"+2AA-@example.org") + part("photo", b"A", filename="x") + b"--x--\r\n"
    headers = {"Content-Type": f"{FORM}; boundary=x; charset=utf-7"}
    refused("/photos", "photo-format", content=content, headers=headers)


NAMES = {
    "nothing": "",
    "spaces": "   ",
    "a zero byte": "a\0b",
    "a line break": "a\nb",
    "an escape": "a\x1b[2Jb",
    "right to left": "a\u202eb",
    "long": "x" * 10_000,
    "a byte order mark": "\ufeff",
}


@pytest.mark.parametrize("kind", NAMES)
def test_bad_names(refused: Any, kind: str) -> None:
    body = {"email": "new@example.org", "name": NAMES[kind]}
    codes = ("gallery", "invalid-request")
    if kind != "nothing":  # without a name, it is the first part of the e-mail
        refused("/auth/register", *codes, json=body | {"password": PASSWORD})
    if kind not in ("nothing", "spaces"):
        refused("/keys", "account", "invalid-request", json={"name": NAMES[kind], "scopes": ["admin"]})
    if kind != "nothing":
        refused("/users", *codes, json=body)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "x",
        "@",
        "a@",
        "@b",
        "a b@c",
        "a@b@c",
        "a\0@b",
        "a@b\n",
        "x" * 10_000 + "@b",
        "'; DROP TABLE users; --",
        "é" * 256,
    ],
)
def test_bad_emails(refused: Any, email: str) -> None:
    codes = ("gallery", "invalid-request")
    if email.strip() != "a@b":
        refused("/users", *codes, json={"email": email})
        refused("/auth/register", *codes, json={"email": email, "password": PASSWORD})
    refused("/auth/register", *codes, "weak-password", json={"email": email, "password": "short"})
    refused("/verify", *codes, "photo-format", json={"photo": "AAAA", "email": email})


@pytest.mark.parametrize("password", ["", "x" * 1_025, "x" * 60_000, "\0" * 20, "a\0b", "p" * 20])
def test_bad_passwords(refused: Any, password: str) -> None:
    codes = ("weak-password", "invalid-request")
    refused("/auth/register", *codes, json={"email": "new@example.org", "password": password})


def test_wrong_passwords_of_any_characters_are_refused(api: Served) -> None:
    person = api.person()
    client = api.at("198.51.100.3")
    for password in ("", "\0", "a\0b" * 9, "é" * 1_024):
        body = {"email": person.email, "password": password}
        assert code_of(client.post(f"{V1}/auth/login", json=body), 401) == "login-refused"


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/users/{}", "GET"),
        ("/users/{}", "DELETE"),
        ("/users/{}/photos", "GET"),
        ("/users/1/photos/{}", "DELETE"),
        ("/keys/{}", "DELETE"),
    ],
)
@pytest.mark.parametrize(
    "number", ["0", "-1", "x", "1e3", "2147483648", "9" * 5_000, "%00", "%ff", "1%2f..", "٣x", "0x1", "NaN", "true"]
)
def test_bad_numbers_in_paths(refused: Any, path: str, method: str, number: str) -> None:
    refused(path.format(number), "invalid-request", "not-found", method=method)


@pytest.mark.parametrize(
    "query", ["search=" + "x" * 300, "limit=NaN", "limit=1&limit=x", "cursor=%00", "cursor=%ff%fe", "limit=%00"]
)
def test_bad_queries(refused: Any, query: str) -> None:
    refused(f"/users?{query}", "invalid-request", "cursor", method="GET")


def test_odd_queries(api: Served) -> None:
    headers = api.key("admin")
    for query in ("search=%00", "search=%ff", "search=%ed%a0%80", "search='\"\\%25_", "unknown=1"):
        assert api.client.get(f"{V1}/users?{query}", headers=headers).json()["users"] == []
    for query in ("event=%00", "event=%ff", "event='--"):
        assert api.client.get(f"{V1}/audit?{query}", headers=headers).status_code == 200


# Text that is stored unchanged


@pytest.mark.parametrize(
    "name",
    [
        "Robert'); DROP TABLE users; --",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "%s %(x)s {0}",
        "👩🏽‍🚀".replace("\u200d", ""),
        "=1+1",
    ],
)
def test_names_with_special_characters_are_stored_unchanged(api: Served, name: str) -> None:
    headers = api.key("enroll", "admin")
    made = api.client.post(f"{V1}/users", json={"email": "new@example.org", "name": name}, headers=headers)
    assert made.status_code == 201, made.text
    assert api.client.get(f"{V1}/users", params={"search": name}, headers=headers).json()["users"] == [made.json()]
    assert made.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\x.jpg", "x.jpg"),
        ("C:\\photo.jpg", "photo.jpg"),
        ("/", "photo"),
        ("..", ".."),
        ("a\x7f\x1b[2J\u202eb.jpg", "a[2Jb.jpg"),
        ("x" * 1_000 + ".jpg", "x" * 196 + ".jpg"),
        ("'; DROP TABLE photos; --", "'; DROP TABLE photos; --"),
        (" ", "photo"),
    ],
)
def test_file_names(api: Served, photos: Photos, given: str, kept: str) -> None:
    person = api.person()
    path = f"{V1}/users/{person.id}/photos"
    data = photos("Tony_Blair", 2).read_bytes()
    assert api.client.post(path, files={"photo": file(data, given)}, headers=person.headers).status_code == 201
    (photo,) = api.client.get(path, headers=person.headers).json()["photos"]
    assert photo["filename"] == kept
    folder = api.gallery.settings.photos_dir.resolve()
    (stored,) = list(folder.rglob("*.jpg"))
    assert stored.name != kept


def test_a_large_body_is_refused_by_its_header(refused: Any) -> None:
    for path in ("/identify", "/auth/login", "/users"):
        headers = {"Content-Length": str(10**12), "Content-Type": "application/json"}
        refused(path, "request-too-large", content=b"{}", headers=headers)
    for length in ("-1", "1_0", "+1", "x", "9" * 400):
        headers = {"Content-Length": length, "Content-Type": "application/json"}
        refused("/identify", "request", "request-too-large", content=b"{}", headers=headers)


def test_requests_without_an_account_do_not_use_up_the_bytes_of_others(api: Served, photos: Photos) -> None:
    program = api.key("identify")
    budget = api.service.anonymous_body_budget
    with budget.lease() as lease:
        lease.take(budget.total)
        login = {"email": "a@example.org", "password": "x"}
        busy = api.client.post(f"{V1}/auth/login", json=login)
        assert code_of(busy, 503) == "service-busy"
        assert busy.headers["retry-after"] == "1"
        sent = {"photo": file(photos("Tony_Blair", 2).read_bytes())}
        assert api.client.post(f"{V1}/identify", files=sent, headers=program).status_code == 200
