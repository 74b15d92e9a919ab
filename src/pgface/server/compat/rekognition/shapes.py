"""The members and the limits of requests. They are those of botocore's model, which a test compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_IMAGE_BYTES: Final = 5_242_880


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    min: int = 0
    max: int | None = None
    pattern: str | None = None
    """A regular expression in the syntax of Java."""
    enum: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in base64."""

    min: int
    max: int


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number, or any number."""

    whole: bool
    min: int
    max: int | None = None


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list."""

    member: Shape
    min: int = 0
    max: int | None = None


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any keys."""

    key: Text
    value: Text
    min: int
    max: int


@dataclass(frozen=True, slots=True)
class Structure:
    """An object with known keys."""

    members: Mapping[str, Shape]
    required: tuple[str, ...] = field(default=())


Shape = Text | Blob | Number | ListOf | MapOf | Structure

_COLLECTION_ID: Final = Text(1, 255, r"[a-zA-Z0-9_.\-]+")
_USER_ID: Final = Text(1, 128, r"[a-zA-Z0-9_.\-:]+")
_FACE_ID: Final = Text(pattern="[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FACE_IDS: Final = ListOf(_FACE_ID, 1, 4096)
_FACE_IDS_OF_USER: Final = ListOf(_FACE_ID, 1, 100)
_EXTERNAL_IMAGE_ID: Final = Text(1, 255, r"[a-zA-Z0-9_.\-:]+")
_REQUEST_TOKEN: Final = Text(1, 64, "^[a-zA-Z0-9-_]+$")
_PAGINATION_TOKEN: Final = Text(max=255)
_PAGE_SIZE: Final = Number(True, 0, 4096)
_MAX_FACES: Final = Number(True, 1, 4096)
_MAX_USERS: Final = Number(True, 1, 500)
_PERCENT: Final = Number(False, 0, 100)
_QUALITY_FILTER: Final = Text(enum=("NONE", "AUTO", "LOW", "MEDIUM", "HIGH"))
_ATTRIBUTES: Final = ListOf(
    Text(
        enum=(
            "DEFAULT",
            "ALL",
            "AGE_RANGE",
            "BEARD",
            "EMOTIONS",
            "EYE_DIRECTION",
            "EYEGLASSES",
            "EYES_OPEN",
            "GENDER",
            "MOUTH_OPEN",
            "MUSTACHE",
            "FACE_OCCLUDED",
            "SMILE",
            "SUNGLASSES",
        )
    )
)
_IMAGE: Final = Structure(
    {
        "Bytes": Blob(1, MAX_IMAGE_BYTES),
        "S3Object": Structure(
            {"Bucket": Text(3, 255, r"[0-9A-Za-z\.\-_]*"), "Name": Text(1, 1024), "Version": Text(1, 1024)}
        ),
    }
)
_RESOURCE_ARN: Final = Text(20, 2048)
_TAG_KEY: Final = Text(1, 128, r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]*$")
_TAGS: Final = MapOf(_TAG_KEY, Text(0, 256, r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"), 0, 200)

_SESSION_ID: Final = Text(36, 36, "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSION: Final = Text(5, 11, r"^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$")

_COLLECTION: Final = Structure({"CollectionId": _COLLECTION_ID}, ("CollectionId",))
_USER: Final = Structure(
    {"CollectionId": _COLLECTION_ID, "UserId": _USER_ID, "ClientRequestToken": _REQUEST_TOKEN},
    ("CollectionId", "UserId"),
)

REQUESTS: Final[Mapping[str, Structure]] = {
    "CreateCollection": Structure({"CollectionId": _COLLECTION_ID, "Tags": _TAGS}, ("CollectionId",)),
    "DeleteCollection": _COLLECTION,
    "DescribeCollection": _COLLECTION,
    "ListCollections": Structure({"NextToken": _PAGINATION_TOKEN, "MaxResults": _PAGE_SIZE}),
    "IndexFaces": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "Image": _IMAGE,
            "ExternalImageId": _EXTERNAL_IMAGE_ID,
            "DetectionAttributes": _ATTRIBUTES,
            "MaxFaces": Number(True, 1),
            "QualityFilter": _QUALITY_FILTER,
        },
        ("CollectionId", "Image"),
    ),
    "ListFaces": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "NextToken": _PAGINATION_TOKEN,
            "MaxResults": _PAGE_SIZE,
            "UserId": _USER_ID,
            "FaceIds": _FACE_IDS,
        },
        ("CollectionId",),
    ),
    "DeleteFaces": Structure({"CollectionId": _COLLECTION_ID, "FaceIds": _FACE_IDS}, ("CollectionId", "FaceIds")),
    "SearchFaces": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "FaceId": _FACE_ID,
            "MaxFaces": _MAX_FACES,
            "FaceMatchThreshold": _PERCENT,
        },
        ("CollectionId", "FaceId"),
    ),
    "SearchFacesByImage": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "Image": _IMAGE,
            "MaxFaces": _MAX_FACES,
            "FaceMatchThreshold": _PERCENT,
            "QualityFilter": _QUALITY_FILTER,
        },
        ("CollectionId", "Image"),
    ),
    "CreateUser": _USER,
    "DeleteUser": _USER,
    "ListUsers": Structure(
        {"CollectionId": _COLLECTION_ID, "MaxResults": _MAX_USERS, "NextToken": _PAGINATION_TOKEN}, ("CollectionId",)
    ),
    "AssociateFaces": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "UserId": _USER_ID,
            "FaceIds": _FACE_IDS_OF_USER,
            "UserMatchThreshold": _PERCENT,
            "ClientRequestToken": _REQUEST_TOKEN,
        },
        ("CollectionId", "UserId", "FaceIds"),
    ),
    "DisassociateFaces": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "UserId": _USER_ID,
            "ClientRequestToken": _REQUEST_TOKEN,
            "FaceIds": _FACE_IDS_OF_USER,
        },
        ("CollectionId", "UserId", "FaceIds"),
    ),
    "SearchUsers": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "UserId": _USER_ID,
            "FaceId": _FACE_ID,
            "UserMatchThreshold": _PERCENT,
            "MaxUsers": _MAX_USERS,
        },
        ("CollectionId",),
    ),
    "SearchUsersByImage": Structure(
        {
            "CollectionId": _COLLECTION_ID,
            "Image": _IMAGE,
            "UserMatchThreshold": _PERCENT,
            "MaxUsers": _MAX_USERS,
            "QualityFilter": _QUALITY_FILTER,
        },
        ("CollectionId", "Image"),
    ),
    "CompareFaces": Structure(
        {
            "SourceImage": _IMAGE,
            "TargetImage": _IMAGE,
            "SimilarityThreshold": _PERCENT,
            "QualityFilter": _QUALITY_FILTER,
        },
        ("SourceImage", "TargetImage"),
    ),
    "DetectFaces": Structure({"Image": _IMAGE, "Attributes": _ATTRIBUTES}, ("Image",)),
    "TagResource": Structure({"ResourceArn": _RESOURCE_ARN, "Tags": _TAGS}, ("ResourceArn", "Tags")),
    "UntagResource": Structure(
        {"ResourceArn": _RESOURCE_ARN, "TagKeys": ListOf(_TAG_KEY, 0, 200)}, ("ResourceArn", "TagKeys")
    ),
    "ListTagsForResource": Structure({"ResourceArn": _RESOURCE_ARN}, ("ResourceArn",)),
    "CreateFaceLivenessSession": Structure(
        {
            "KmsKeyId": Text(1, 2048, "^[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,2048}$"),
            "Settings": Structure(
                {
                    "OutputConfig": Structure(
                        {"S3Bucket": Text(3, 255, r"[0-9A-Za-z\.\-_]*"), "S3KeyPrefix": Text(0, 950, r"\S*")},
                        ("S3Bucket",),
                    ),
                    "AuditImagesLimit": Number(True, 0, 4),
                    "ChallengePreferences": ListOf(
                        Structure(
                            {
                                "Type": Text(enum=("FaceMovementAndLightChallenge", "FaceMovementChallenge")),
                                "Versions": Structure({"Minimum": _VERSION, "Maximum": _VERSION}),
                            },
                            ("Type",),
                        )
                    ),
                }
            ),
            "ClientRequestToken": _REQUEST_TOKEN,
        }
    ),
    "GetFaceLivenessSessionResults": Structure({"SessionId": _SESSION_ID}, ("SessionId",)),
}
"""The request of each operation that pgface has."""

REFUSED: Final = frozenset(
    [
        "CopyProjectVersion",
        "CreateDataset",
        "CreateProject",
        "CreateProjectVersion",
        "CreateStreamProcessor",
        "DeleteDataset",
        "DeleteProject",
        "DeleteProjectPolicy",
        "DeleteProjectVersion",
        "DeleteStreamProcessor",
        "DescribeDataset",
        "DescribeProjectVersions",
        "DescribeProjects",
        "DescribeStreamProcessor",
        "DetectCustomLabels",
        "DetectLabels",
        "DetectModerationLabels",
        "DetectProtectiveEquipment",
        "DetectText",
        "DistributeDatasetEntries",
        "GetCelebrityInfo",
        "GetCelebrityRecognition",
        "GetContentModeration",
        "GetFaceDetection",
        "GetFaceSearch",
        "GetLabelDetection",
        "GetMediaAnalysisJob",
        "GetPersonTracking",
        "GetSegmentDetection",
        "GetTextDetection",
        "ListDatasetEntries",
        "ListDatasetLabels",
        "ListMediaAnalysisJobs",
        "ListProjectPolicies",
        "ListStreamProcessors",
        "PutProjectPolicy",
        "RecognizeCelebrities",
        "StartCelebrityRecognition",
        "StartContentModeration",
        "StartFaceDetection",
        "StartFaceSearch",
        "StartLabelDetection",
        "StartMediaAnalysisJob",
        "StartPersonTracking",
        "StartProjectVersion",
        "StartSegmentDetection",
        "StartStreamProcessor",
        "StartTextDetection",
        "StopProjectVersion",
        "StopStreamProcessor",
        "UpdateDatasetEntries",
        "UpdateStreamProcessor",
    ]
)
"""The operations of Rekognition that pgface refuses with AccessDeniedException."""
