"""Photos in all variants of forms and JSON that the RFCs permit and clients send."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from httpx2 import Response
from pydantic import BaseModel, ValidationError

from pgface.server.field_errors import sentence_of
from pgface.server.schemas.admin import CreateKeyRequest
from pgface.server.schemas.auth import FaceLoginRequest
from pgface.server.schemas.faces import IdentifyRequest
from pgface.server.schemas.photos import EnrollRequest
from pgface.server.schemas.users import CreateUserRequest
from support.photos import Photos
from support.sentences import api as says
from support.web_service import V1, Served, base64_of

FORM = "multipart/form-data"
DISPOSITION = b'Content-Disposition: form-data; name="photo"'
JPEG = b"Content-Type: image/jpeg"


@pytest.fixture
def photo(photos: Photos) -> bytes:
    return photos("Ariel_Sharon", 1).read_bytes()


def form(photo: bytes, *lines: bytes, boundary: bytes = b"B") -> bytes:
    return b"--" + boundary + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + photo + b"\r\n--" + boundary + b"--\r\n"


PARTS: dict[str, tuple[bytes, ...]] = {
    "a name": (DISPOSITION + b'; filename="a.jpg"', JPEG),
    "an unquoted name": (DISPOSITION + b"; filename=a.jpg", JPEG),
    "an extended name alone": (DISPOSITION + b"; filename*=utf-8''%E6%97%A5.jpg", JPEG),
    "an extended name in Latin-1": (DISPOSITION + b"; filename*=iso-8859-1'de'%FC.jpg", JPEG),
    "both names": (DISPOSITION + b"; filename=\"a.jpg\"; filename*=UTF-8''%E6%97%A5.jpg", JPEG),
    "a name in pieces": (DISPOSITION + b"; filename*0*=utf-8''%E6; filename*1*=%97%A5.jpg", JPEG),
    "a broken extended name": (DISPOSITION + b"; filename*=x'%zz", JPEG),
    "a name of UTF-8 bytes": (DISPOSITION + '; filename="日.jpg"'.encode(), JPEG),
    "no name": (DISPOSITION, JPEG),
    "no name and no type": (DISPOSITION,),
    "an empty name": (DISPOSITION + b'; filename=""', b"Content-Type: application/octet-stream"),
    "upper case": (DISPOSITION.upper().replace(b"PHOTO", b"photo") + b'; FILENAME="a.jpg"', JPEG.upper()),
    "lower case": (DISPOSITION.lower() + b'; filename="a.jpg"', JPEG.lower()),
    "an unquoted field": (b"Content-Disposition: form-data; name=photo; filename=a.jpg", JPEG),
    "no space": (b'Content-Disposition:form-data;name="photo";filename="a.jpg"',),
    "the name first": (b'Content-Disposition: form-data; filename="a.jpg"; name="photo"', JPEG),
    "a length": (DISPOSITION + b'; filename="a.jpg"', JPEG, b"Content-Length: 5"),
    "binary": (DISPOSITION + b'; filename="a.jpg"', JPEG, b"Content-Transfer-Encoding: binary"),
}


def count_faces(answer: Response) -> int:
    assert answer.status_code == 200, answer.text
    return len(answer.json()["faces"])


@pytest.mark.parametrize("kind", PARTS)
def test_parts_of_forms(api: Served, photo: bytes, kind: str) -> None:
    headers = api.key("identify") | {"Content-Type": f"{FORM}; boundary=B"}
    assert count_faces(api.client.post(f"{V1}/detect", content=form(photo, *PARTS[kind]), headers=headers)) == 1


def test_the_file_name_of_a_photo_is_stored(api: Served, photo: bytes) -> None:
    headers = api.key("enroll", "admin") | {"Content-Type": f"{FORM}; boundary=B"}
    email = b'--B\r\nContent-Disposition: form-data; name="email"\r\n\r\na@example.org\r\n'
    content = email + form(photo, *PARTS["an extended name alone"])
    enrolled = api.client.post(f"{V1}/photos", content=content, headers=headers).json()
    listed = api.client.get(f"{V1}/users/{enrolled['user']['id']}/photos", headers=headers).json()
    assert listed["photos"][0]["filename"] == "日.jpg"


WHOLE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a quoted boundary": (
        'multipart/form-data; boundary="a b"',
        lambda photo: form(photo, DISPOSITION, boundary=b"a b"),
    ),
    "capitals": ("Multipart/Form-Data; Boundary=B", lambda photo: form(photo, DISPOSITION)),
    "a charset": ("multipart/form-data; charset=UTF-8; boundary=B", lambda photo: form(photo, DISPOSITION)),
    "a charset at the end": ("multipart/form-data;boundary=B;charset=utf-8", lambda photo: form(photo, DISPOSITION)),
    "a line before": ("multipart/form-data; boundary=B", lambda photo: b"\r\n" + form(photo, DISPOSITION)),
    "a preamble": ("multipart/form-data; boundary=B", lambda photo: b"in many parts\r\n" + form(photo, DISPOSITION)),
    "an epilogue": ("multipart/form-data; boundary=B", lambda photo: form(photo, DISPOSITION) + b"the end\r\n"),
    "no last line break": ("multipart/form-data; boundary=B", lambda photo: form(photo, DISPOSITION)[:-2]),
    "base64": (
        "multipart/form-data; boundary=B",
        lambda photo: form(base64.encodebytes(photo), DISPOSITION, JPEG, b"Content-Transfer-Encoding: BASE64"),
    ),
    "base64 as a text": ("multipart/form-data; boundary=B", lambda photo: form(base64.b64encode(photo), DISPOSITION)),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_forms(api: Served, photo: bytes, kind: str) -> None:
    media_type, body = WHOLE[kind]
    headers = api.key("identify") | {"Content-Type": media_type}
    assert count_faces(api.client.post(f"{V1}/detect", content=body(photo), headers=headers)) == 1


def test_a_preamble_byte_by_byte(api: Served, photo: bytes) -> None:
    content = b"x\r\n--\r\n" + form(photo, DISPOSITION)
    pieces = [content[at : at + 1] for at in range(30)] + [content[30:]]
    headers = api.key("identify") | {"Content-Type": f"{FORM}; boundary=B"}
    assert count_faces(api.client.post(f"{V1}/detect", content=iter(pieces), headers=headers)) == 1


JSONS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda photo: json.dumps({"photo": base64_of(photo)}).encode(),
    "lines": lambda photo: json.dumps({"photo": base64.encodebytes(photo).decode()}).encode(),
    "lines of CR LF": lambda photo: json.dumps(
        {"photo": base64.encodebytes(photo).decode().replace("\n", "\r\n")}
    ).encode(),
    "for URLs": lambda photo: json.dumps({"photo": base64.urlsafe_b64encode(photo).decode()}).encode(),
    "without padding": lambda photo: json.dumps({"photo": base64_of(photo + b"\0").rstrip("=")}).encode(),
    "a data URL": lambda photo: json.dumps({"photo": "data:image/jpeg;base64," + base64_of(photo)}).encode(),
    "a data URL without a type": lambda photo: json.dumps({"photo": "DATA:;BASE64," + base64_of(photo)}).encode(),
    "an escaped data URL": lambda photo: json.dumps(
        {"photo": "data:image/jpeg;base64," + base64_of(photo).replace("+", "%2B").replace("/", "%2F")}
    ).encode(),
    "a byte order mark": lambda photo: b"\xef\xbb\xbf" + json.dumps({"photo": base64_of(photo)}).encode(),
    "escapes": lambda photo: (
        json.dumps({"photo": base64_of(photo)}).replace("photo", r"\u0070hoto").replace("/", r"\/").encode()
    ),
}


@pytest.mark.parametrize("kind", JSONS)
@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json(api: Served, photo: bytes, kind: str, media_type: str) -> None:
    headers = api.key("identify") | {"Content-Type": media_type}
    assert count_faces(api.client.post(f"{V1}/detect", content=JSONS[kind](photo), headers=headers)) == 1


def test_invalid_fields_have_sentences_of_pgface(api: Served) -> None:
    headers = api.key("identify")
    asked = {"photo": "*", "top": "x", "threshold": 2, "more": 1}
    answer = api.client.post(f"{V1}/identify", json=asked, headers=headers).json()
    details = {error["field"]: error["detail"] for error in answer["errors"]}
    assert details == {
        "photo": says.NOT_BASE64,
        "top": says.WHOLE_NUMBER,
        "threshold": says.AT_MOST_1,
        "more": says.NO_SUCH_FIELD,
    }


WRONG: list[tuple[type[BaseModel], dict[str, object]]] = [
    (CreateUserRequest, {}),
    (CreateUserRequest, {"email": 1, "name": "x" * 300, "x": 1}),
    (EnrollRequest, {"photo": 1, "face": "x", "allow_other_user": 3}),
    (IdentifyRequest, {"photo": "AAAA", "top": 0, "threshold": float("nan")}),
    (IdentifyRequest, {"photo": "AAAA", "top": 1.5, "threshold": "x"}),
    (IdentifyRequest, {"photo": "AAAA", "top": 10**30, "threshold": -3}),
    (FaceLoginRequest, {"challenge": "x" * 2000, "frames": ["AAAA"] * 200}),
    (FaceLoginRequest, {"challenge": "\ud800", "frames": "AAAA"}),
    (CreateKeyRequest, {"name": None, "scopes": []}),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_every_sentence_is_of_pgface(number: int) -> None:
    kind, values = WRONG[number]
    with pytest.raises(ValidationError) as error:
        kind.model_validate(values, strict=True)
    for one in error.value.errors(include_url=False):
        sentence = sentence_of(one)
        assert sentence.startswith(("This ", "There "))
        assert sentence.endswith(".")
        assert sentence != says.UNUSABLE_VALUE, one
        assert "{" not in sentence


def test_a_refusal_of_several_faces_names_the_field(api: Served, group_photo: Path) -> None:
    headers = api.key("verify", "enroll")
    for path, more in (("/compare", {"other": group_photo.read_bytes()}), ("/photos", {})):
        files = {name: ("a.jpg", data) for name, data in {"photo": group_photo.read_bytes(), **more}.items()}
        asked = {"email": "a@example.org"} if path == "/photos" else {}
        answer = api.client.post(f"{V1}{path}", files=files, data=asked, headers=headers).json()
        assert answer["code"] == "several-faces"
        assert says.SEND_LARGEST.is_in(answer["detail"])
        answer = api.client.post(f"{V1}{path}", files=files, data=asked | {"face": "largest"}, headers=headers)
        assert answer.status_code in (200, 201), answer.text


def test_a_user_may_choose_the_largest_face_of_a_photo(api: Served, group_photo: Path) -> None:
    person = api.person()
    photo = {"photo": ("a.jpg", group_photo.read_bytes())}
    page = api.client.post("/account/photos", files=photo, headers=person.cookie)
    assert page.status_code == 422
    assert says.SEVERAL_ON_A_PAGE.is_in(page.text)
    assert 'name="face" value="largest"' in page.text
    done = api.client.post(
        "/account/photos", files=photo, data={"face": "largest"}, headers=person.cookie, follow_redirects=False
    )
    assert done.headers["location"] == "/account?done=photo-added"
