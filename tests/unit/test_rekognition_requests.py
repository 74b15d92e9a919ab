"""The requests of Amazon Rekognition: their shapes, their validation, and their signatures."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pgface.errors import CursorError
from pgface.server.compat.rekognition.errors import _TYPES, AwsError
from pgface.server.compat.rekognition.operations import OPERATIONS
from pgface.server.compat.rekognition.pages import decode_id, decode_token, encode_token
from pgface.server.compat.rekognition.shapes import REFUSED, REQUESTS
from pgface.server.compat.rekognition.sigv4 import read_head
from pgface.server.compat.rekognition.validation import parse
from support.aws_model import aws_model, own_shape

SECRET = "0123456789abcdefghijABCDEFGHIJ+/01234567"
BODY = b'{"CollectionId": "people"}'
FACE_ID = "9c3a1f2e-0000-4000-8000-00000000000a"


@pytest.mark.parametrize("name", REQUESTS)
def test_the_shapes_are_those_of_botocore(name: str) -> None:
    assert own_shape(aws_model().operation_model(name).input_shape) == REQUESTS[name]


def test_every_operation_of_the_model_is_answered_or_refused() -> None:
    assert OPERATIONS.keys() == REQUESTS.keys()
    assert REFUSED.isdisjoint(REQUESTS)
    assert REFUSED | REQUESTS.keys() == set(aws_model().operation_names)


def test_every_error_is_of_the_model_or_of_the_protocol() -> None:
    of_protocol = {"SerializationException", "UnrecognizedClientException", "MissingAuthenticationTokenException"}
    of_protocol |= {"RequestTimeoutException"}
    assert set(_TYPES.values()) - of_protocol <= {shape.name for shape in aws_model().error_shapes}


def validated(name: str, **members: Any) -> dict[str, Any]:
    return parse(json.dumps(members).encode(), REQUESTS[name])


@pytest.mark.parametrize(
    ("name", "members", "place", "rule"),
    [
        ("CreateCollection", {}, "collectionId", "not be null"),
        ("CreateCollection", {"CollectionId": None}, "collectionId", "not be null"),
        ("CreateCollection", {"CollectionId": ""}, "collectionId", "greater than or equal to 1"),
        ("CreateCollection", {"CollectionId": "a" * 256}, "collectionId", "less than or equal to 255"),
        ("CreateCollection", {"CollectionId": "my people"}, "collectionId", "regular expression pattern"),
        ("CreateCollection", {"CollectionId": "people\n"}, "collectionId", "regular expression pattern"),
        ("CreateCollection", {"CollectionId": "people", "Tags": {"aws:x": ""}}, "tags", "regular expression"),
        ("SearchFaces", {"CollectionId": "a", "FaceId": FACE_ID.upper()}, "faceId", "regular expression"),
        ("SearchFaces", {"CollectionId": "a", "FaceId": FACE_ID, "MaxFaces": 0}, "maxFaces", "equal to 1"),
        ("SearchFaces", {"CollectionId": "a", "FaceId": FACE_ID, "MaxFaces": 4097}, "maxFaces", "equal to 4096"),
        ("SearchFaces", {"CollectionId": "a", "FaceId": FACE_ID, "FaceMatchThreshold": 100.5}, "faceMatch", "100"),
        ("DeleteFaces", {"CollectionId": "a", "FaceIds": []}, "faceIds", "equal to 1"),
        ("DeleteFaces", {"CollectionId": "a", "FaceIds": [FACE_ID, "x"]}, "faceIds.2.member", "pattern"),
        ("DetectFaces", {"Image": {"Bytes": ""}}, "image.bytes", "equal to 1"),
        ("DetectFaces", {"Image": {}, "Attributes": ["NAME"]}, "attributes.1.member", "enum value set"),
        ("IndexFaces", {"CollectionId": "a", "Image": {}, "ExternalImageId": "Ada L"}, "externalImageId", "pattern"),
    ],
)
def test_a_member_beyond_a_limit_is_refused(name: str, members: dict[str, Any], place: str, rule: str) -> None:
    with pytest.raises(AwsError, match=r"^\d validation errors? detected: Value") as refused:
        validated(name, **members)
    assert refused.value.type_name == "ValidationException"
    assert place in str(refused.value)
    assert rule in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"CollectionId": 5}',
        b'{"CollectionId": "a\\u0000"}',
        b'{"CollectionId": "a", "Tags": []}',
        b'{"CollectionId": "a", "Tags": {"a": 1}}',
        b"\xff\xfe{\0}\0",
        b'\xef\xbb\xbf{"CollectionId": "a"}',
        b'{"CollectionId": "a\xff"}',
        b'{"CollectionId": "\\ud800"}',
        b'{"CollectionId": "a"} {}',
        b'{"CollectionId": "a", "Later": NaN}',
        b'{"CollectionId": "a", "Later": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_member_of_another_type_is_refused(body: bytes) -> None:
    with pytest.raises(AwsError) as refused:
        parse(body, REQUESTS["CreateCollection"])
    assert refused.value.type_name == "SerializationException"


@pytest.mark.parametrize("value", [True, "80", 1e400, float("nan"), [80]])
def test_a_percentage_is_a_finite_number(value: Any) -> None:
    with pytest.raises(AwsError) as refused:
        validated("SearchFaces", CollectionId="a", FaceId=FACE_ID, FaceMatchThreshold=value)
    assert refused.value.type_name == "SerializationException"


@pytest.mark.parametrize("number", [10**20, 10**400, -(10**400)])
def test_a_whole_number_of_any_length_is_refused(number: int) -> None:
    for members in ({"MaxFaces": number}, {"FaceMatchThreshold": number}):
        with pytest.raises(AwsError) as refused:
            validated("SearchFaces", CollectionId="a", FaceId=FACE_ID, **members)
        assert refused.value.type_name == "ValidationException"
        assert len(str(refused.value)) < 300
    with pytest.raises(AwsError) as refused:
        validated("IndexFaces", CollectionId="a", Image={}, MaxFaces=number)
    assert refused.value.type_name == "SerializationException"


@pytest.mark.parametrize(
    ("name", "member"),
    [("DeleteFaces", "FaceIds"), ("AssociateFaces", "FaceIds"), ("IndexFaces", "DetectionAttributes")],
)
def test_a_long_list_is_refused_before_its_members_are_read(name: str, member: str) -> None:
    members: dict[str, Any] = {"CollectionId": "a", "UserId": "a", "Image": {}, member: [""] * 9_000}
    with pytest.raises(AwsError, match="have length less than or equal to") as refused:
        validated(name, **members)
    assert refused.value.type_name == "ValidationException"
    assert len(str(refused.value)) < 5_000


@pytest.mark.parametrize("value", ["[]", '{"a": []}', '""', "1"])
def test_many_small_values_are_refused_before_they_are_parsed(value: str) -> None:
    body = b'{"Image": {}, "Later": [' + b",".join([value.encode()] * 2_000_000) + b"]}"
    started = time.process_time()
    with pytest.raises(AwsError, match="too many members") as refused:
        parse(body, REQUESTS["DetectFaces"])
    assert refused.value.type_name == "SerializationException"
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("text", ["cGhv\ndG8=", " cGhvdG8=", "cGhvdG8", "__--", "cGhvdG8=cGhv", "===="])
def test_base64_has_no_other_characters(text: str) -> None:
    with pytest.raises(AwsError, match="not base64") as refused:
        validated("DetectFaces", Image={"Bytes": text})
    assert refused.value.type_name == "SerializationException"


def test_the_last_of_repeated_members_counts() -> None:
    body = b'{"CollectionId": "a", "collectionId": "b", "CollectionId": "c"}'
    assert parse(body, REQUESTS["DescribeCollection"]) == {"CollectionId": "c"}


def test_a_valid_request_is_decoded() -> None:
    tags = {"Área de trabajo": "Zürich 1:2/3=4+5-6@7", "空": ""}
    assert validated("CreateCollection", CollectionId="a", Tags=tags, Later=1) == {"CollectionId": "a", "Tags": tags}
    read = validated("DetectFaces", Image={"Bytes": base64.b64encode(b"photo").decode()})
    assert read == {"Image": {"Bytes": b"photo"}}
    with pytest.raises(AwsError, match="base64"):
        validated("DetectFaces", Image={"Bytes": "p!"})


def test_a_token_is_of_one_list() -> None:
    token = encode_token("ListFaces " + "a" * 255, str(2**31 - 1))
    assert len(token) < 256
    assert decode_id("ListFaces " + "a" * 255, token) == 2**31 - 1
    assert decode_id("ListFaces a", None) == 0
    for wrong in (token[:-2], token + "!", "x", "", encode_token("ListFaces b", "7"), encode_token("ListFaces a", "x")):
        with pytest.raises(CursorError):
            decode_id("ListFaces a", wrong)
    with pytest.raises(CursorError):
        decode_token("ListCollections", token)


def signed_headers(
    body: bytes = BODY,
    extra: dict[str, str] | None = None,
    *,
    url: str = "http://faces.example:8000/",
    secret: str = SECRET,
) -> dict[str, str]:
    """Sign a request with botocore, and return its headers with names in lower case."""
    request = AWSRequest(
        "POST",
        url,
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "RekognitionService.DescribeCollection",
            **(extra or {}),
        },
        data=body,
    )
    SigV4Auth(Credentials("PGFAAAAAAAAAAAAAAAAA", secret), "rekognition", "eu-central-1").add_auth(request)
    return {"host": "faces.example:8000"} | {name.lower(): str(value) for name, value in request.headers.items()}


def check(headers: dict[str, str], body: bytes = BODY, path: str = "/", method: str = "POST") -> None:
    signed = read_head(headers, "")
    signed.require_signature(SECRET, method=method, path=path, hosts=[headers["host"]], headers=headers, body=body)


def test_a_request_that_botocore_signed_is_accepted() -> None:
    check(signed_headers())
    check(signed_headers(b"", {"X-Amz-Odd": "  two   spaces "}), b"")
    check(signed_headers(url="http://faces.example:8000/rekognition"), path="/rekognition")
    # With the same signature again, as AWS does within the time limit.
    headers = signed_headers()
    check(headers)
    check(headers)


@pytest.mark.parametrize("name", ["host", "x-amz-target", "x-amz-date", "content-type"])
def test_a_changed_header_is_refused(name: str) -> None:
    headers = signed_headers()
    changed = headers[name][:-2] + ("1Z" if headers[name][-2:] != "1Z" else "2Z")
    with pytest.raises(AwsError) as refused:
        check(headers | {name: changed})
    assert refused.value.type_name == "InvalidSignatureException"


def test_a_changed_request_is_refused() -> None:
    headers = signed_headers()
    changed: list[dict[str, Any]] = [
        {"body": b'{"CollectionId": "others"}'},
        {"path": "/rekognition"},
        {"method": "PUT"},
    ]
    for change in changed:
        with pytest.raises(AwsError, match="secret access key"):
            check(headers, **change)
    with pytest.raises(AwsError, match="secret access key"):
        check(signed_headers(secret=SECRET[::-1]))
    with pytest.raises(AwsError, match="X-Amz-Content-Sha256"):
        check(signed_headers(BODY, {"X-Amz-Content-Sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("change", "type_name"),
    [
        ({"authorization": None}, "MissingAuthenticationTokenException"),
        ({"authorization": "Bearer pgface_x"}, "IncompleteSignatureException"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=x"}, "IncompleteSignatureException"),
        ({"authorization": ("rekognition", "s3")}, "InvalidSignatureException"),
        ({"authorization": ("aws4_request", "aws5_request")}, "InvalidSignatureException"),
        ({"authorization": ("content-type;host", "host;content-type")}, "InvalidSignatureException"),
        ({"authorization": ("content-type;host", "content-type;host;host")}, "InvalidSignatureException"),
        ({"authorization": (";x-amz-target", "")}, "InvalidSignatureException"),
        ({"authorization": ("host;", "")}, "InvalidSignatureException"),
        ({"x-amz-new": "not signed"}, "InvalidSignatureException"),
        ({"x-amz-date": None}, "InvalidSignatureException"),
        ({"x-amz-date": "today"}, "IncompleteSignatureException"),
        ({"x-amz-security-token": "FwoGZXIvYXdzE"}, "InvalidSignatureException"),
    ],
)
def test_a_head_that_cannot_be_of_a_signed_request_is_refused(change: dict[str, Any], type_name: str) -> None:
    headers = signed_headers()
    for name, value in change.items():
        new = headers[name].replace(*value) if isinstance(value, tuple) else value
        headers = {key: old for key, old in headers.items() if key != name} | ({name: new} if new else {})
    if "x-amz-security-token" in change:
        type_name = "UnrecognizedClientException"
    with pytest.raises(AwsError) as refused:
        read_head(headers, "")
    assert refused.value.type_name == type_name


@pytest.mark.parametrize("payload", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_a_body_without_a_signature_is_refused(payload: str) -> None:
    with pytest.raises(AwsError) as refused:
        read_head(signed_headers() | {"x-amz-content-sha256": payload}, "")
    assert refused.value.type_name == "InvalidSignatureException"


def test_a_presigned_url_is_refused() -> None:
    with pytest.raises(AwsError) as refused:
        read_head(signed_headers(), "X-Amz-Signature=0")
    assert refused.value.type_name == "IncompleteSignatureException"


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-301, False), (-300, True), (0, True), (300, True), (300.001, False), (86_400, False)]
)
def test_the_clocks_may_differ_by_five_minutes(seconds: float, accepted: bool) -> None:
    headers = signed_headers()
    now = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=seconds)
    if accepted:
        read_head(headers, "", now)
        return
    with pytest.raises(AwsError) as refused:
        read_head(headers, "", now)
    assert refused.value.type_name == "InvalidSignatureException"
