"""Calls of every operation of Amazon Rekognition that pgface has: with every member, failing ones, and odd requests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from pgface.server.compat.rekognition.shapes import REQUESTS

Members = dict[str, Any]

COLLECTION, USER = "people", "ada"
UNKNOWN_FACE = "9c3a1f2e-0000-4000-8000-00000000000a"
UNKNOWN_ARN = "arn:aws:rekognition:eu-central-1:000000000000:collection/unknown"
PRIVATE = {"S3Object": {"Bucket": "private", "Name": "a.jpg", "Version": "1"}}
"""An image in a bucket that the service may not read."""

IGNORED = {"IndexFaces": {"DetectionAttributes"}, "DetectFaces": {"Attributes"}}
"""The members that change nothing. The how-to guide names them."""

NOT_RAISED: dict[str, set[str]] = {
    # pgface refuses these with ValidationException, as AWS does, or has no such limit.
    "InvalidParameterException": {
        "DeleteCollection",
        "DescribeCollection",
        "ListCollections",
        "ListFaces",
        "DeleteFaces",
        "DeleteUser",
        "ListUsers",
        "AssociateFaces",
        "DisassociateFaces",
        "GetFaceLivenessSessionResults",
    },
    "ServiceQuotaExceededException": {"CreateCollection", "IndexFaces", "CreateUser"},
    "ResourceNotFoundException": {"ListCollections"},
    "ConflictException": {"DeleteUser", "AssociateFaces", "DisassociateFaces"},
    "InternalServerError": set(REQUESTS),
    "ThrottlingException": set(REQUESTS),
    "ProvisionedThroughputExceededException": set(REQUESTS),
}
"""The errors of the model that no request can provoke."""


DESCRIBE, BODY = "DescribeCollection", b'{"CollectionId": "unknown"}'
ODD_REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    # The error that tells that the request was understood is ResourceNotFoundException.
    "chunked": ("ResourceNotFoundException", {"chunked": True}),
    "the hash of the body": (
        "ResourceNotFoundException",
        {"signed": [("X-Amz-Content-Sha256", hashlib.sha256(BODY).hexdigest())]},
    ),
    "spaces in a signed header": ("ResourceNotFoundException", {"signed": [("X-Amz-Odd", "a   b")]}),
    "an empty session token": ("ResourceNotFoundException", {"signed": [("X-Amz-Security-Token", "")]}),
    "a header with an underscore": (
        "ResourceNotFoundException",
        {"unsigned": [("X_Amz_Target", "RekognitionService.DeleteCollection")]},
    ),
    "a second target": (
        "InvalidSignatureException",
        {"unsigned": [("X-Amz-Target", "RekognitionService.DeleteCollection")]},
    ),
    "a second date": ("IncompleteSignatureException", {"unsigned": [("X-Amz-Date", "20200101T000000Z")]}),
    "a second signature": ("IncompleteSignatureException", {"unsigned": [("Authorization", "Bearer x")]}),
    "a second media type": ("InvalidSignatureException", {"unsigned": [("Content-Type", "text/plain")]}),
    "a second length": ("", {"unsigned": [("Content-Length", "5")]}),
    "a length and chunks": ("", {"unsigned": [("Content-Length", "5")], "chunked": True}),
    "a folded header": ("", {"unsigned": [("X-Folded", "a\r\n b")]}),
    **{
        payload: ("InvalidSignatureException", {"signed": [("X-Amz-Content-Sha256", payload)]})
        for payload in (
            "UNSIGNED-PAYLOAD",
            "unsigned-payload",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            hashlib.sha256(b"").hexdigest(),
        )
    },
    "a presigned URL": ("IncompleteSignatureException", {"path": "/?X-Amz-Signature=0"}),
    "two targets": ("UnknownOperationException", {"operation": f"{DESCRIBE},RekognitionService.DeleteCollection"}),
    "an unknown target": ("UnknownOperationException", {"operation": "describeCollection"}),
    "a long integer": (
        "ValidationException",
        {"operation": "ListFaces", "body": b'{"CollectionId": "a", "MaxResults": 1%b}' % (b"0" * 400)},
    ),
    "a long body": ("ValidationException", {"body": b'{"CollectionId": "a", "Later": "%b"}' % bytes(600_000)}),
}
"""The error, and how the request is made. An empty error is one of HTTP itself."""


def calls_with_every_member(image: Members, found: dict[str, str]) -> Iterator[tuple[str, Members]]:
    """Make calls that together have every member of every operation.

    Args:
        image: a photo of a face.
        found: `face` and `arn`, which the caller sets when they are known.

    """
    at: Members = {"CollectionId": COLLECTION}
    user: Members = at | {"UserId": USER}
    token: Members = {"NextToken": "not a token"}
    once: Members = {"ClientRequestToken": "1"}
    probe: Members = at | {"Image": image, "QualityFilter": "LOW"}
    yield "CreateCollection", at | {"Tags": {"a": "b"}}
    yield "DescribeCollection", at
    yield "ListCollections", {"MaxResults": 1}
    yield "ListCollections", token
    yield "TagResource", {"ResourceArn": found["arn"], "Tags": {"a": "b"}}
    yield "UntagResource", {"ResourceArn": found["arn"], "TagKeys": ["a"]}
    yield "ListTagsForResource", {"ResourceArn": found["arn"]}
    yield "IndexFaces", probe | {"ExternalImageId": "a", "MaxFaces": 1, "DetectionAttributes": ["ALL"]}
    face: Members = {"FaceId": found["face"]}
    faces: Members = {"FaceIds": [found["face"]]}
    yield "ListFaces", at | {"MaxResults": 1}
    yield "ListFaces", at | token
    yield "ListUsers", at | {"MaxResults": 1}
    yield "ListUsers", at | token
    yield "SearchFaces", at | face | {"MaxFaces": 1, "FaceMatchThreshold": 1.5}
    yield "SearchFacesByImage", probe | {"MaxFaces": 1, "FaceMatchThreshold": 1}
    yield "CreateUser", user | once
    yield "ListFaces", user | faces
    yield "AssociateFaces", user | faces | once | {"UserMatchThreshold": 1}
    yield "DisassociateFaces", user | faces | once
    yield "SearchUsers", at | face | {"MaxUsers": 1, "UserMatchThreshold": 1}
    yield "SearchUsers", user
    yield "SearchUsersByImage", probe | {"MaxUsers": 1, "UserMatchThreshold": 1}
    yield (
        "CompareFaces",
        {"SourceImage": image, "TargetImage": image, "SimilarityThreshold": 1, "QualityFilter": "LOW"},
    )
    yield "DetectFaces", {"Image": image, "Attributes": ["ALL"]}
    yield "CreateFaceLivenessSession", once | {"Settings": {"AuditImagesLimit": 1}}
    yield "CreateFaceLivenessSession", {"KmsKeyId": "a"}
    yield "GetFaceLivenessSessionResults", {"SessionId": UNKNOWN_FACE}
    yield "DeleteFaces", at | faces
    yield "DeleteUser", user | once
    yield "DeleteCollection", at


def failing_calls(image: Members, empty: Members, wrong: Members, large: Members) -> list[tuple[str, str, Members]]:
    """Make calls in a collection with a user, each with the error that it provokes.

    Args:
        image: a photo of a face.
        empty: a photo without a face.
        wrong: a file that is no photo.
        large: a photo with too many pixels.

    """
    at: Members = {"CollectionId": COLLECTION}
    named: Members = {"UserId": USER}
    user: Members = at | named
    faces: Members = {"FaceIds": [UNKNOWN_FACE]}
    calls: list[tuple[str, str, Members]] = [
        ("CreateCollection", "ResourceAlreadyExistsException", at),
        ("CreateCollection", "InvalidParameterException", {"CollectionId": ".."}),
        ("TagResource", "ServiceQuotaExceededException", {"Tags": {str(number): "" for number in range(200)}}),
        ("SearchFaces", "InvalidParameterException", at | {"FaceId": UNKNOWN_FACE}),
        ("SearchFacesByImage", "InvalidParameterException", at | {"Image": empty}),
        ("CompareFaces", "InvalidParameterException", {"SourceImage": empty, "TargetImage": image}),
        ("CreateUser", "ConflictException", user),
        ("CreateUser", "InvalidParameterException", at | {"UserId": "pgface:5"}),
        ("SearchUsers", "InvalidParameterException", user | {"FaceId": UNKNOWN_FACE}),
        ("AssociateFaces", "ServiceQuotaExceededException", user | faces),
        ("TagResource", "InvalidParameterException", {"ResourceArn": "arn:aws:s3:::a-bucket-of-photos", "Tags": {}}),
        ("UntagResource", "InvalidParameterException", {"ResourceArn": "arn:aws:s3:::a-bucket", "TagKeys": []}),
        ("ListTagsForResource", "InvalidParameterException", {"ResourceArn": "arn:aws:s3:::a-bucket-of-photos"}),
        ("TagResource", "ResourceNotFoundException", {"ResourceArn": UNKNOWN_ARN, "Tags": {}}),
        ("UntagResource", "ResourceNotFoundException", {"ResourceArn": UNKNOWN_ARN, "TagKeys": []}),
        ("ListTagsForResource", "ResourceNotFoundException", {"ResourceArn": UNKNOWN_ARN}),
        ("CreateFaceLivenessSession", "InvalidParameterException", {"KmsKeyId": "a"}),
        ("GetFaceLivenessSessionResults", "SessionNotFoundException", {"SessionId": UNKNOWN_FACE}),
        ("ListCollections", "InvalidPaginationTokenException", {"NextToken": "x"}),
        ("ListFaces", "InvalidPaginationTokenException", at | {"NextToken": "x"}),
        ("ListUsers", "InvalidPaginationTokenException", at | {"NextToken": "x"}),
    ]
    of_unknown_collection: dict[str, Members] = {
        "DeleteCollection": {},
        "DescribeCollection": {},
        "IndexFaces": {"Image": image},
        "ListFaces": {},
        "DeleteFaces": faces,
        "SearchFaces": {"FaceId": UNKNOWN_FACE},
        "SearchFacesByImage": {"Image": image},
        "CreateUser": named,
        "DeleteUser": named,
        "ListUsers": {},
        "AssociateFaces": named | faces,
        "DisassociateFaces": named | faces,
        "SearchUsers": named,
        "SearchUsersByImage": {"Image": image},
    }
    calls += [
        (name, "ResourceNotFoundException", {"CollectionId": "unknown"} | members)
        for name, members in of_unknown_collection.items()
    ]
    for name in ("IndexFaces", "SearchFacesByImage", "SearchUsersByImage", "CompareFaces", "DetectFaces"):
        for refused, error in (
            (wrong, "InvalidImageFormatException"),
            (large, "ImageTooLargeException"),
            (PRIVATE, "InvalidS3ObjectException"),
            ({}, "InvalidParameterException"),
        ):
            if name == "CompareFaces":
                calls.append((name, error, {"SourceImage": image, "TargetImage": refused}))
            else:
                calls.append((name, error, ({} if name == "DetectFaces" else at) | {"Image": refused}))
    for name in ("CreateUser", "DeleteUser", "AssociateFaces", "DisassociateFaces"):
        members = faces if name.endswith("Faces") else {}
        other = user | {"UserId": "bob"} | members | {"ClientRequestToken": "mismatch"}
        calls.append((name, "IdempotentParameterMismatchException", other))
    return calls
