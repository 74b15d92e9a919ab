"""The values in the responses of the web service, as frozen dataclasses.

A field that a newer service adds is ignored. No representation shows a key or a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")

Point: TypeAlias = tuple[float, float]
"""x and y in pixels of the upright photo."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    next_cursor: str | None
    """The cursor of the next page. None at the end."""


# Users and photos


@dataclass(frozen=True, slots=True)
class User:
    """A user of the gallery."""

    id: int
    name: str
    email: str
    created_at: datetime
    photos: int
    """Number of enrolled photos."""
    embeddings: int
    external_id: str | None = None
    """The id of the user in another system."""
    labels: tuple[str, ...] = ()
    """Sorted."""
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Photo:
    """An enrolled photo. The service stores only the crop of the face."""

    id: int
    user_id: int
    filename: str
    width: int
    height: int
    created_at: datetime


# Faces


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels of the upright photo. Parts of it may lie outside of the photo."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Quality:
    """The measurements of a face. None for a value that was not measured."""

    face_size: float | None = None
    """Width of the face in pixels."""
    sharpness: float | None = None
    brightness: float | None = None
    """0 to 1."""
    yaw: float | None = None
    """In degrees, as `pitch` and `roll`."""
    pitch: float | None = None
    roll: float | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """A face of a photo."""

    box: Box
    landmarks: tuple[Point | None, ...]
    """Left eye, right eye, nose, left and right mouth corner, as seen in the photo. None if one was not found."""
    detection_score: float
    """The score of the detector. Scores of different models cannot be compared."""
    quality: Quality


@dataclass(frozen=True, slots=True)
class Match:
    """A user that identification found for a face."""

    user_id: int
    name: str
    email: str
    similarity: float
    """Cosine of the probe and this user's most similar embedding, -1 to 1."""
    confidence: float | None
    """0 to 100. None below the gallery's own threshold."""
    external_id: str | None = None
    """The id of the user in another system."""


@dataclass(frozen=True, slots=True)
class IdentifiedFace(Face):
    """A face of a photo, and the users who match it."""

    identified: bool
    matches: tuple[Match, ...]
    """The users above the threshold, the most similar first. Empty for an unknown person."""


@dataclass(frozen=True, slots=True)
class Identification:
    """The users in a photo, for every face, the largest face first."""

    model: str
    threshold: float
    gallery_threshold: float
    """The gallery's own threshold. A face below it counts as unknown."""
    faces: tuple[IdentifiedFace, ...]
    faces_found: int
    """Faces found in the photo. `faces` may have fewer."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two photos show the same person."""

    match: bool
    similarity: float
    threshold: float
    confidence: float | None
    """0 to 100. None without a match, and below the gallery's own threshold."""


@dataclass(frozen=True, slots=True)
class Verification(Comparison):
    """Whether a photo shows a user."""

    user_id: int


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The result of enrolling a photo."""

    user: User
    photo_id: int
    added: bool
    """False if the user has this photo already. Then nothing was changed."""
    face: Face | None
    """The enrolled face. None if nothing was added."""
    left_aside: tuple[Box, ...]
    """Smaller faces in the background. They were not enrolled."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the gallery. It has no name, e-mail, photo or embedding."""

    cursor: str
    """The place of the event. Give it as `after` to read the events that follow."""
    id: int
    """Unique in the gallery. The ids are not in the order of the events."""
    at: datetime
    kind: str
    user_id: int | None
    """None if there is no user, if one statement changed many users, or if the user was deleted since."""
    other_user_id: int | None
    """Of `user_merged`: the user that was deleted."""
    photo_id: int | None
    matched: bool | None
    """Of `identified` and `verified`: whether a user matched."""
    confidence: float | None
    """Of a match, 0 to 100."""
    count: int
    """The number of users, photos or faces that one statement changed."""


# Jobs


@dataclass(frozen=True, slots=True)
class Job:
    """Long work that a worker does."""

    id: str
    kind: str
    state: str
    """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
    created_by: str
    """The caller, as in the audit log."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int
    """The number of photos or embeddings. 0 until it is known."""
    done: int
    """How many of them have a result."""
    enrolled: int
    already_enrolled: int
    refused: int
    error: str | None
    """The code of the error, for a failed job."""
    reason: str | None
    """Why the job failed."""
    report: dict[str, Any] | None
    """Of a job that succeeded: what an import, a change of the model or an evaluation returned."""


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What a job did with one photo."""

    photo: str | None
    """The path in the archive. None after the user was deleted."""
    outcome: str
    """`waiting`, `enrolled`, `already enrolled`, `refused` or `cancelled`."""
    user_id: int | None
    photo_id: int | None
    error: str | None
    """The code of the error, for a refused photo."""
    reason: str | None


# Accounts


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A new login. Its token is the key of a client that acts for the user."""

    token: str = field(repr=False)
    token_type: str
    user_id: int
    confidence: float
    """1.0 for a password, the similarity for a face."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """A login that has not ended."""

    id: int
    confidence: float
    created_at: datetime
    expires_at: datetime | None
    current: bool
    """Whether it is the login of this request."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and the login of the client's token."""

    user: User
    administrator: bool
    login: Login


@dataclass(frozen=True, slots=True)
class Challenge:
    """The next step of a login by face."""

    token: str = field(repr=False)
    """The token to send with the frames."""
    pose: str
    """Where to look, from the person's point of view: `left`, `right`, `up` or `centre`."""
    progress: float
    """The share of the poses that is done, 0 to 1."""
    seconds: int
    """The time limit of the whole login, from the first challenge on."""
    policy: str


@dataclass(frozen=True, slots=True)
class LivenessStep:
    """The next step of a liveness session."""

    pose: str
    """Where to look, from the person's point of view: `left`, `right`, `up` or `centre`."""
    progress: float
    """The share of the poses that is done, 0 to 1."""
    done: bool
    """Whether the session has ended. It does not say whether the person is live."""


@dataclass(frozen=True, slots=True)
class Introspection:
    """The state of a token (RFC 7662, section 2.2). Only `active` is set if the token is not valid."""

    active: bool
    sub: str | None = None
    """The user's id."""
    username: str | None = None
    """The user's e-mail."""
    name: str | None = None
    token_type: str | None = None
    exp: int | None = None
    """When the login ends, in seconds since 1970 in UTC."""
    iat: int | None = None
    """When the login began."""
    confidence: float | None = None
    """1.0 for a password, the similarity for a face."""
    amr: tuple[str, ...] | None = None
    """How the user logged in (RFC 8176): `pwd`, `face` or both."""


# Administration and operations


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, without the key itself."""

    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    """Accurate to the minute."""
    revoked_at: datetime | None
    all_galleries: bool
    """Whether the key works for all galleries."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new API key. The service does not store it."""

    key: str = field(repr=False)
    about: Key


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the audit log."""

    id: int
    at: datetime
    event: str
    outcome: str
    """`done` or `refused`."""
    reason: str | None
    actor: str | None
    user_id: int | None
    key_id: int | None
    address: str | None
    similarity: float | None
    count: int
    """The number of equal events within the hour."""
    last_at: datetime | None
    """The time of the last of several equal events."""


@dataclass(frozen=True, slots=True)
class Status:
    """The status of the gallery."""

    model: str | None
    model_problem: str | None
    """Why the service cannot use the model."""
    execution_provider: str | None
    runtimes: dict[str, str] | None
    """What runs `detection` and `embedding`, and where."""
    verify_threshold: float
    identify_threshold: float
    advised_identify_threshold: float
    """The threshold that the number of enrolled users needs."""
    calibration_due: bool
    users: int
    photos: int
    embeddings: int
    photo_store: str
    """Where new crops go: `folder`, `postgres`, or the URL of a bucket."""
    photos_to_delete: int | None
    """Number of crops of deleted photos that are not deleted yet."""
    search: str
    """`exact`, or the index that a search uses first."""
    search_agreement: float | None
    search_due: bool
    index: str | None
    schema_version: int
    postgresql: str
    pgvector: str
    login_policy: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery of the service."""

    name: str
    model_name: str | None
    """None in a list if the gallery is on another server, as for `people` and `faces`."""
    people: int | None
    faces: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Replica:
    """How far a replica is behind its primary."""

    current: bool
    """Whether it is not further behind than PGFACE_MAX_REPLICA_LAG."""
    lag_bytes: int | None
    """Bytes that the replica has received and does not show yet."""
    lag_seconds: float | None
    """Seconds since the replica certainly showed everything. None if that is not known."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the service is ready, and the parts that it needs."""

    ready: bool
    database: bool
    schema_current: bool
    """Whether the tables are those of the service's version of pgface."""
    model: bool
    """Whether the model is loaded."""
    replica: Replica | None
    """The state of the database if it is a replica, so that the service only reads."""
