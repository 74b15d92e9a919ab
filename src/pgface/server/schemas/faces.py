"""The schemas to identify, verify, compare and detect faces."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from pgface import results
from pgface.faces.engines.base import Quality
from pgface.results import quality_to_json
from pgface.server.schemas.base import (
    EXAMPLE_PHOTO,
    Email,
    ExternalId,
    FaceChoice,
    Labels,
    Name,
    PhotoField,
    RequestBody,
    ResponseBody,
    Similarity,
    example,
    example_of,
)

_SCALE: Final = (
    "0 to 100: 50 is reached by 1 in 100 pairs of strangers, 80 by 1 in 1,000, 90 by 1 in 10,000, 99 by 1 in a million."
)


class IdentifyRequest(RequestBody):
    """A photo to search for in the gallery."""

    model_config = example({"photo": EXAMPLE_PHOTO, "top": 3})

    photo: PhotoField = Field(description="The probe.")
    threshold: Similarity | None = Field(default=None, description="By default the gallery's threshold for 1:N.")
    top: int = Field(default=1, ge=1, le=100, description="The maximum of users for each face.")
    labels: Labels = Field(default=[], description="Search only among the users who have all of these labels.")


class VerifyRequest(RequestBody):
    """A photo and the user whom it is claimed to show."""

    model_config = example({"photo": EXAMPLE_PHOTO, "user_id": 12})

    photo: PhotoField = Field(description="The probe.")
    user_id: int | None = Field(default=None, ge=1, le=2**31 - 1, description="The user's id.")
    email: Email | None = Field(default=None, description="Instead of `user_id`. A logged-in user may omit both.")
    name: Name | None = Field(
        default=None, description="Instead of `user_id`, if only one user has this name. Not for a logged-in user."
    )
    external_id: ExternalId | None = Field(
        default=None, description="Instead of `user_id`. The user's id in another system. Not for a logged-in user."
    )
    threshold: Similarity | None = Field(default=None, description="By default the gallery's threshold for 1:1.")
    face: FaceChoice = "only"


class CompareRequest(RequestBody):
    """Two photos that may show the same person."""

    model_config = example({"photo": EXAMPLE_PHOTO, "other": EXAMPLE_PHOTO})

    photo: PhotoField = Field(description="A photo.")
    other: PhotoField = Field(description="Another photo.")
    threshold: Similarity | None = Field(default=None, description="By default the gallery's threshold for 1:1.")
    face: FaceChoice = "only"


class DetectRequest(RequestBody):
    """A photo in which to detect faces."""

    model_config = example({"photo": EXAMPLE_PHOTO})

    photo: PhotoField = Field(description="The photo.")


def _rounded(value: float) -> float:
    return round(value, 1)


def _points(value: Any) -> Any:
    """Landmarks of shape (5, 2) as pairs, with null for a landmark that the model does not find (NaN)."""
    if not hasattr(value, "tolist"):
        return value
    return [None if x != x else (round(x, 1), round(y, 1)) for x, y in value.tolist()]


Pixels = Annotated[float, BeforeValidator(_rounded)]


class Box(ResponseBody):
    """A box in pixels of the upright photo. Parts of it may lie outside of the photo."""

    model_config = example({"x": 79.0, "y": 55.9, "width": 93.2, "height": 136.4})

    x: Pixels
    y: Pixels
    width: Pixels
    height: Pixels


class Face(ResponseBody):
    """A face of a photo."""

    model_config = example(
        {
            "box": example_of(Box),
            "landmarks": [[103.2, 113.1], [144.4, 109.7], [124.6, 133.9], [110.0, 157.2], [145.6, 154.0]],
            "detection_score": 0.8548,
            "quality": {
                "face_size": 93.2,
                "sharpness": 11.6,
                "brightness": 0.56,
                "yaw": -3.1,
                "pitch": 3.8,
                "roll": -4.7,
            },
        }
    )

    box: Box
    landmarks: Annotated[list[tuple[float, float] | None], BeforeValidator(_points)] = Field(
        description="Left eye, right eye, nose, left and right mouth corner, as seen in the photo. Null if the model "
        "does not find one."
    )
    detection_score: Annotated[float, BeforeValidator(lambda value: round(value, 4))] = Field(
        description="The score of the detector. Scores of different models cannot be compared."
    )
    quality: Annotated[
        dict[str, float | None],
        BeforeValidator(lambda value: quality_to_json(value) if isinstance(value, Quality) else value),
    ] = Field(description="Face size in pixels, sharpness, brightness from 0 to 1, yaw, pitch and roll in degrees.")


class DetectResponse(ResponseBody):
    """The faces of a photo, the largest first."""

    model_config = example({"faces": [example_of(Face)]})

    faces: list[Face]


class Match(ResponseBody):
    """A user found for a face."""

    model_config = example(
        {
            "user_id": 12,
            "name": "Alice",
            "email": "alice@example.org",
            "similarity": 0.71,
            "confidence": 99.9,
            "external_id": "emp-17",
        }
    )

    user_id: int
    name: str
    email: str
    similarity: float
    confidence: float | None = Field(description=f"{_SCALE} Null below `gallery_threshold`.")
    external_id: str | None = Field(description="The id of the user in another system.")


class IdentifiedFace(Face):
    """A face of a photo, and the users it matches."""

    model_config = example({**example_of(Face), "identified": True, "matches": [example_of(Match)]})

    identified: bool
    matches: list[Match] = Field(
        description="The users above the threshold, the most similar first. Empty for an unknown person."
    )

    @model_validator(mode="before")
    @classmethod
    def _flattened(cls, value: object) -> object:
        """Take the measurements out of the result's attribute `face`, because they are fields of this schema."""
        if not isinstance(value, results.IdentifiedFace):
            return value
        face = {name: getattr(value.face, name) for name in Face.model_fields}
        return face | {"identified": value.identified, "matches": value.matches}


class IdentifyResponse(ResponseBody):
    """The users in a photo, for every face, the largest first."""

    model_config = example(
        {
            "model": "sface",
            "threshold": 0.45,
            "gallery_threshold": 0.45,
            "faces": [example_of(IdentifiedFace)],
            "faces_found": 1,
        }
    )

    model: str
    threshold: float
    gallery_threshold: float = Field(description="The gallery's threshold for 1:N. A face below it counts as unknown.")
    faces: list[IdentifiedFace]
    faces_found: int = Field(
        description="The number of faces in the photo. If there are more than the service's `PGFACE_MAX_FACES`, only "
        "the largest are identified."
    )


class CompareResponse(ResponseBody):
    """Whether two photos show the same person."""

    model_config = example({"match": True, "similarity": 0.71, "threshold": 0.32, "confidence": 99.9})

    match: bool
    similarity: float
    threshold: float
    confidence: float | None = Field(
        description=f"{_SCALE} Null if the photos do not match, and below the gallery's threshold."
    )


class VerifyResponse(CompareResponse):
    """Whether a photo shows a user."""

    model_config = example({**example_of(CompareResponse), "user_id": 12})

    user_id: int
