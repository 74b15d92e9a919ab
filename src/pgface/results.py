"""The results of a gallery: frozen values that convert to JSON.

>>> from pgface import Match
>>> match = Match(7, "Alice", "alice@example.org", similarity=0.61, embedding_id=12, confidence=97.2)
>>> match.name, match.confidence
('Alice', 97.2)

"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgface.faces.engines.base import Box, Detection, Quality


@dataclass(frozen=True, slots=True)
class User:
    """A user of the gallery, with or without photos."""

    id: int
    name: str
    email: str
    created_at: datetime
    photos: int
    """Number of enrolled photos."""
    embeddings: int
    external_id: str | None = None
    """The id that another system gave to this user. It is unique in the gallery."""
    labels: Sequence[str] = ()
    """Sorted. Lists and identification can be limited to users with some labels."""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """A JSON object. pgface stores it and does not use it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))  # a list from PostgreSQL

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"created_at": self.created_at.isoformat(), "labels": list(self.labels)}


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """An enrolled photo. Its file is the aligned crop of the face, because pgface does not store the original."""

    id: int
    user_id: int
    email: str
    filename: str
    filepath: str
    """Path below `Settings.photos_dir`."""
    width: int
    height: int
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self) | {"created_at": self.created_at.isoformat()}


@dataclass(frozen=True, slots=True)
class Match:
    """A user that identification found for a probe."""

    user_id: int
    name: str
    email: str
    similarity: float
    """Cosine of the probe and this user's most similar embedding, -1 to 1."""
    embedding_id: int
    confidence: float | None = None
    """0 to 100, see `pgface.thresholds`. None below the gallery's own threshold, and in a gallery without a model."""
    external_id: str | None = None
    """The id of this user in another system."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedFace:
    """One face of a photo, and the users who match it."""

    face: Detection
    matches: tuple[Match, ...]
    """The users above the threshold, the most similar first. Empty if no user matches."""

    @property
    def identified(self) -> bool:
        """Whether at least one user matches."""
        return bool(self.matches)

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return {
            **face_to_json(self.face),
            "identified": self.identified,
            "matches": [asdict(match) for match in self.matches],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """The result of a search (1:N) for every face of a photo, the largest face first."""

    photo: str
    model: str
    threshold: float
    """The threshold of this search."""
    gallery_threshold: float
    """The gallery's own threshold. A face below it is unknown, whatever threshold you asked for."""
    faces: tuple[IdentifiedFace, ...]
    faces_found: int
    """Faces found in the photo. `faces` has fewer if there were more than PGFACE_MAX_FACES."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return {"photo": self.photo, "faces_found": self.faces_found, "faces": [face.to_json() for face in self.faces]}


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of comparing a photo with a user (1:1)."""

    match: bool
    similarity: float
    """Cosine of the probe and the user's most similar embedding, -1 to 1. It is 0 for a user without embeddings."""
    threshold: float
    user_id: int
    name: str
    email: str
    confidence: float | None = None
    """0 to 100, see `pgface.thresholds`.

    None without a match, below the gallery's own threshold, and in a gallery without a model.
    """

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing two photos (1:1)."""

    match: bool
    similarity: float
    threshold: float
    confidence: float | None = None
    """As in `Verification.confidence`."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Enrollment:
    """The result of enrolling a photo."""

    user: User
    photo: str
    photo_id: int
    added: bool
    """False if the user has this photo already. Then nothing was changed."""
    face: Detection | None
    """The enrolled face. None if nothing was added."""
    left_aside: tuple[Box, ...] = ()
    """Boxes of the smaller faces in the background, in pixels of the photo. They were not enrolled."""

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return {
            "photo": self.photo,
            "photo_id": self.photo_id,
            "user_id": self.user.id,
            "name": self.user.name,
            "email": self.user.email,
            "added": self.added,
            **(face_to_json(self.face) if self.face else {}),
            "left_aside": [box_to_json(box) for box in self.left_aside],
        }


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the gallery and of its server."""

    model: str | None
    alignment_size: int | None
    weights_sha256: str | None
    verify_threshold: float
    identify_threshold: float
    advised_identify_threshold: float
    """The threshold that the number of enrolled people needs. See `calibration_due`."""
    calibration_due: bool
    """Whether the threshold for identification is too low for the number of enrolled people."""
    execution_provider: str | None
    """Where inference runs. None if the model cannot be used on this machine."""
    runtimes: dict[str, str] | None
    """What runs the steps "detection" and "embedding", and where: "ONNX Runtime (CPU)", "OpenVINO (CPU)", "dlib". None
    if the model cannot be used on this machine."""
    model_problem: str | None
    """Why the model cannot be used on this machine. None if it can."""
    embedded: bool
    schema: str
    schema_version: int
    postgresql: str
    pgvector: str
    search: str
    """The search method of identification: "exact", or the index that finds candidates."""
    search_agreement: float | None
    """Share of the measured probes, 0 to 1, for which the search gave the exact answer. None for an exact search."""
    search_stale_users: int
    """Users without current templates. Every search compares them exactly until their templates are made."""
    search_fitting: bool
    """Whether the search is being fitted now."""
    search_due: bool
    """Whether you should run `pgface fit-search`, because much of the gallery has changed."""
    is_replica: bool
    """Whether the server is a replica, so that the gallery can only be read."""
    replica_lag_bytes: int | None
    """Bytes that a replica has received from its primary and does not show yet. None for a primary."""
    replica_lag_seconds: float | None
    """Seconds since a replica certainly showed everything. None for a primary, and if that is not known."""
    index: str | None
    """The method of idx_embeddings_vector. None if the index is missing or being built."""
    users: int
    photos: int
    embeddings: int
    photo_store: str
    """Where new crops go: `folder`, `postgres`, or the URL of an S3-compatible store."""
    photos_to_delete: int | None
    """Number of crops of deleted photos that are not deleted yet. None if this role may not read it."""
    data_dir: str

    def to_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return asdict(self)


def face_to_json(face: Detection) -> dict[str, Any]:
    """Return the measurements of a face, without its embedding and its crop."""
    return {
        "box": box_to_json(face.box),
        "detection_score": round(face.detection_score, 4),
        "quality": quality_to_json(face.quality),
    }


def box_to_json(box: Box) -> list[float]:
    """Return x, y, width and height, in pixels of the photo."""
    return [round(value, 1) for value in box]


def quality_to_json(quality: Quality) -> dict[str, float | None]:
    """Return the quality of a face. A value that was not measured is null."""
    measured = ((field.name, getattr(quality, field.name)) for field in fields(quality))
    return {name: None if math.isnan(value) else round(value, 4) for name, value in measured}
