"""What the gallery answers: frozen values that know how to become JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgface.faces.engine import Box, Detection, Quality


@dataclass(frozen=True, slots=True)
class User:
    """A person of the gallery."""

    id: int
    name: str
    email: str
    created_at: datetime
    photos: int
    """How many photos of this user are enrolled."""
    embeddings: int
    """How many embeddings this user has."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self) | {"created_at": self.created_at.isoformat()}


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """An enrolled photo; its file is the crop of the face, and the original is not kept."""

    id: int
    user_id: int
    email: str
    filename: str
    filepath: str
    """Below the photos folder of the data folder."""
    width: int
    height: int
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self) | {"created_at": self.created_at.isoformat()}


@dataclass(frozen=True, slots=True)
class Match:
    """A person found for a probe."""

    user_id: int
    name: str
    email: str
    similarity: float
    """Cosine of the probe and this user's best embedding, -1 to 1."""
    embedding_id: int
    confidence: float | None = None
    """0 to 100, by `pgface.thresholds`; None below the gallery's own threshold and in a gallery without a model."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedFace:
    """One face of a photo, and who it is."""

    face: Detection
    matches: tuple[Match, ...]
    """The people above the threshold, best first; empty for a stranger."""

    @property
    def identified(self) -> bool:
        """Whether anyone is above the threshold."""
        return bool(self.matches)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            **face_to_json(self.face),
            "identified": self.identified,
            "matches": [asdict(match) for match in self.matches],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """The answer of 1:N for every face of a photo, the largest face first."""

    photo: str
    model: str
    threshold: float
    """The one that was used."""
    gallery_threshold: float
    """The gallery's own: a face below it is a stranger's, whatever threshold was asked for."""
    faces: tuple[IdentifiedFace, ...]
    faces_found: int
    """Faces in the photo: more than `faces` has if there were more than PGFACE_MAX_FACES."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {"photo": self.photo, "faces_found": self.faces_found, "faces": [face.to_json() for face in self.faces]}


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer of 1:1 against a user."""

    match: bool
    similarity: float
    """Cosine of the probe and the user's best embedding; 0 for a user without embeddings."""
    threshold: float
    user_id: int
    name: str
    email: str
    confidence: float | None = None
    """0 to 100, by `pgface.thresholds`; None where the photo does not match, below the gallery's own threshold, and in
    a gallery without a model."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer of 1:1 between two photos."""

    match: bool
    similarity: float
    threshold: float
    confidence: float | None = None
    """As `Verification.confidence`."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Enrollment:
    """What enrolling a photo did."""

    user: User
    photo: str
    photo_id: int
    added: bool
    """False when this user has this photo already; then nothing was changed."""
    face: Detection | None
    """The enrolled face; None when nothing was added."""
    left_aside: tuple[Box, ...] = ()
    """Boxes of the smaller faces in the background that were not enrolled, in pixels of the photo."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
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
    """The gallery and the server it lives in, at a glance."""

    model: str | None
    detector_size: int | None
    weights_sha256: str | None
    verify_threshold: float
    identify_threshold: float
    advised_identify_threshold: float
    """What the people who are enrolled need; see `calibration_due`."""
    calibration_due: bool
    """Whether the threshold for identification is too low for them."""
    execution_provider: str | None
    """Where inference runs; None when the model cannot be used here."""
    model_problem: str | None
    """Why the model cannot be used here."""
    embedded: bool
    schema: str
    schema_version: int
    postgresql: str
    pgvector: str
    search: str
    """How identification searches: "exact", or the index that the first look goes through."""
    search_agreement: float | None
    """Share of probes for which that gave the exact answer, when it was measured; None for an exact search."""
    search_stale_users: int
    """Users who are compared exactly in every search until their templates are made."""
    search_fitting: bool
    """Whether somebody is fitting the search just now."""
    search_due: bool
    """Whether so much of the gallery has changed that `pgface fit-search` should be run."""
    index: str | None
    """The method of idx_embeddings_vector, None when it is missing or being built."""
    users: int
    photos: int
    embeddings: int
    data_dir: str

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def face_to_json(face: Detection) -> dict[str, Any]:
    """The measurements of a face; its embedding and its crop are left out."""
    return {
        "box": box_to_json(face.box),
        "detection_score": round(face.detection_score, 4),
        "quality": quality_to_json(face.quality),
    }


def box_to_json(box: Box) -> list[float]:
    """x, y, width and height, in pixels of the photo."""
    return [round(value, 1) for value in box]


def quality_to_json(quality: Quality) -> dict[str, float | None]:
    """The measurements of a face's quality; what is not known is null."""
    return {name: None if math.isnan(value) else round(value, 4) for name, value in asdict(quality).items()}
