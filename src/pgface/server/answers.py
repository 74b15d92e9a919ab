"""What the service answers, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field

from pgface.accounts import ApiKey, AuditEntry, Challenge, Login, LoginOfUser, NewLogin
from pgface.faces.engine import Box, Detection
from pgface.faces.liveness.head_turns import Pose
from pgface.results import (
    Comparison,
    Enrollment,
    Identification,
    IdentifiedFace,
    Match,
    StoredPhoto,
    User,
    Verification,
    quality_to_json,
)
from pgface.server.camera_hints import Hint
from pgface.server.cursors import Page
from pgface.server.service import Service
from pgface.settings import LoginPolicy


class UserOut(BaseModel):
    """A person of the gallery."""

    id: int
    name: str
    email: str
    created_at: datetime
    photos: int
    embeddings: int

    @classmethod
    def of(cls, user: User, service: Service) -> UserOut:
        """As the service tells of a user."""
        return cls(**user.to_json() | {"created_at": service.moment(user.created_at)})


class UserPage(Page):
    """Some of the users."""

    users: list[UserOut]


class PhotoOut(BaseModel):
    """An enrolled photo; only the crop of the face is kept of it."""

    id: int
    user_id: int
    filename: str
    width: int
    height: int
    created_at: datetime

    @classmethod
    def of(cls, photo: StoredPhoto, service: Service) -> PhotoOut:
        """As the service tells of a photo."""
        known = {name: getattr(photo, name) for name in ("id", "user_id", "filename", "width", "height")}
        return cls(**known, created_at=service.moment(photo.created_at))


class PhotoPage(Page):
    """Some of a user's photos."""

    photos: list[PhotoOut]


class BoxOut(BaseModel):
    """Pixels of the upright photo; parts may lie outside of it."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, box: Box) -> BoxOut:
        """Rounded to tenths."""
        return cls(**{name: round(value, 1) for name, value in box._asdict().items()})


class FaceOut(BaseModel):
    """A face of a photo."""

    box: BoxOut
    landmarks: list[tuple[float, float] | None] = Field(
        description="Left eye, right eye, nose, left and right mouth corner, as they lie in the picture; null where "
        "the model has none."
    )
    detection_score: float = Field(description="The detector's own; comparable only within one model.")
    quality: dict[str, float | None] = Field(
        description="Face size in pixels, sharpness, brightness from 0 to 1, yaw, pitch and roll in degrees."
    )

    @classmethod
    def values(cls, face: Detection) -> dict[str, Any]:
        """The fields of a face."""
        return {
            "box": {name: round(value, 1) for name, value in face.box._asdict().items()},
            "landmarks": [
                None if point[0] != point[0] else (round(point[0], 1), round(point[1], 1))
                for point in face.landmarks.tolist()
            ],
            "detection_score": round(face.detection_score, 4),
            "quality": quality_to_json(face.quality),
        }


class FacesOut(BaseModel):
    """The faces of a photo, the largest first."""

    faces: list[FaceOut]


_SCALE: Final = (
    "0 to 100: 50 is reached by 1 in 100 pairs of strangers, 80 by 1 in 1,000, 90 by 1 in 10,000, 99 by 1 in a million."
)


class MatchOut(BaseModel):
    """A person found for a face."""

    user_id: int
    name: str
    email: str
    similarity: float
    confidence: float | None = Field(description=f"{_SCALE} Null below `gallery_threshold`.")

    @classmethod
    def of(cls, match: Match) -> MatchOut:
        """As the service tells of a match."""
        return cls(**{name: getattr(match, name) for name in cls.model_fields})


class IdentifiedFaceOut(FaceOut):
    """A face of a photo, and who it is."""

    identified: bool
    matches: list[MatchOut] = Field(description="Those above the threshold, best first; empty for a stranger.")

    @classmethod
    def of(cls, face: IdentifiedFace) -> IdentifiedFaceOut:
        """As the service tells of it."""
        matches = [MatchOut.of(match) for match in face.matches]
        return cls(**cls.values(face.face), identified=face.identified, matches=matches)


class IdentificationOut(BaseModel):
    """Who is in a photo, for every face, the largest first."""

    model: str
    threshold: float
    gallery_threshold: float = Field(description="The gallery's own for 1:N: who is below it counts as a stranger.")
    faces: list[IdentifiedFaceOut]
    faces_found: int = Field(
        description="Faces in the photo. If there are more than the service's `PGFACE_MAX_FACES`, only the largest are "
        "identified."
    )

    @classmethod
    def of(cls, found: Identification) -> IdentificationOut:
        """As the service tells of it."""
        faces = [IdentifiedFaceOut.of(face) for face in found.faces]
        known = {name: getattr(found, name) for name in ("model", "threshold", "gallery_threshold", "faces_found")}
        return cls(**known, faces=faces)


class ComparisonOut(BaseModel):
    """Whether two photos are of one person."""

    match: bool
    similarity: float
    threshold: float
    confidence: float | None = Field(
        description=f"{_SCALE} Null where the photo does not match, and below the gallery's own threshold."
    )

    @classmethod
    def of(cls, found: Comparison | Verification) -> Self:
        """As the service tells of it."""
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


class VerificationOut(ComparisonOut):
    """Whether a photo is of a user."""

    user_id: int


class EnrollmentOut(BaseModel):
    """What enrolling a photo did."""

    user: UserOut
    photo_id: int
    added: bool = Field(description="False when the user has this photo already; then nothing was changed.")
    face: FaceOut | None = Field(description="Null when nothing was added.")
    left_aside: list[BoxOut] = Field(description="Smaller faces in the background, which were not enrolled.")

    @classmethod
    def of(cls, done: Enrollment, service: Service) -> EnrollmentOut:
        """As the service tells of it."""
        face = None if done.face is None else FaceOut(**FaceOut.values(done.face))
        return cls(
            user=UserOut.of(done.user, service),
            photo_id=done.photo_id,
            added=done.added,
            face=face,
            left_aside=[BoxOut.of(box) for box in done.left_aside],
        )


class TokenOut(BaseModel):
    """A login that has just begun."""

    token: str = Field(description="It is shown this once, and kept nowhere.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - what it is called
    user_id: int
    confidence: float = Field(description="1.0 for a password, the similarity for a face.")
    expires_at: datetime

    @classmethod
    def of(cls, login: NewLogin, service: Service) -> TokenOut:
        """As the service tells of it."""
        ends = service.moment(login.expires_at)
        return cls(token=login.token, user_id=login.user_id, confidence=login.confidence, expires_at=ends)


class LoginOut(BaseModel):
    """A login that has not ended."""

    id: int
    confidence: float
    created_at: datetime
    expires_at: datetime | None
    current: bool = Field(description="Whether it is the one that asks.")

    @classmethod
    def of(cls, login: LoginOfUser, current: Login, service: Service) -> LoginOut:
        """As the service tells of it."""
        return cls(
            id=login.id,
            confidence=login.confidence,
            created_at=service.moment(login.created_at),
            expires_at=None if login.expires_at is None else service.moment(login.expires_at),
            current=login.id == current.id,
        )


class LoginsOut(BaseModel):
    """A user's logins."""

    logins: list[LoginOut]


class MeOut(BaseModel):
    """Who is logged in."""

    user: UserOut
    administrator: bool
    login: LoginOut


class EndedOut(BaseModel):
    """How many logins were ended."""

    ended: int


class ChallengeOut(BaseModel):
    """What to do in front of the camera now."""

    token: str = Field(description="To be sent with the frames. It stays the same until the login is done.")
    pose: Pose = Field(
        description="Where to look, as the person feels it: `centre` is straight ahead. The head stays in this pose "
        "until an answer asks for another one."
    )
    progress: float = Field(ge=0, le=1, description="The share of the poses that is done.")
    seconds: int = Field(description="From the first challenge on, in which all of it has to be done.")
    policy: LoginPolicy = Field(description="What a login by face asks for.")

    @classmethod
    def of(cls, challenge: Challenge) -> Self:
        """A challenge as it is sent."""
        return cls(
            token=challenge.token,
            pose=challenge.pose,
            progress=challenge.progress,
            seconds=challenge.seconds,
            policy=challenge.policy,
        )


class HintOut(BaseModel):
    """How to stand in front of the camera."""

    hint: Hint = Field(
        description="`ok`; what is in the way; or where to move, as the person feels it: `left` is to their left."
    )


class IntrospectionOut(BaseModel):
    """A token, as RFC 7662, section 2.2, has it."""

    active: bool
    sub: str | None = Field(default=None, description="The user's id.")
    username: str | None = Field(default=None, description="The user's e-mail.")
    name: str | None = None
    token_type: Literal["Bearer"] | None = None
    exp: int | None = Field(default=None, description="When it ends, in seconds since 1970 in UTC.")
    iat: int | None = Field(default=None, description="When it began.")
    confidence: float | None = Field(default=None, description="1.0 for a password, the similarity for a face.")
    amr: list[str] | None = Field(default=None, description="How they logged in (RFC 8176): `pwd`, `face`, or both.")


class KeyOut(BaseModel):
    """A key, without the key itself."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey, service: Service) -> KeyOut:
        """As the service tells of it."""
        times = {name: getattr(key, name) for name in ("created_at", "last_used_at", "revoked_at")}
        aware: dict[str, Any] = {name: value and service.moment(value) for name, value in times.items()}
        return cls(id=key.id, name=key.name, scopes=key.scopes, **aware)


class KeysOut(BaseModel):
    """All keys, also those that were revoked."""

    keys: list[KeyOut]


class NewKeyOut(BaseModel):
    """A key that was made."""

    key: str = Field(description="It is shown this once, and kept nowhere.")
    about: KeyOut


class AuditEntryOut(BaseModel):
    """A row of the audit log."""

    id: int
    at: datetime
    event: str
    outcome: Literal["done", "refused"]
    reason: str | None
    actor: str | None
    user_id: int | None
    key_id: int | None
    address: str | None
    similarity: float | None
    count: int = Field(description="How often it happened within the hour: refusals that are alike are one row.")
    last_at: datetime | None = Field(description="When the last of several was.")

    @classmethod
    def of(cls, entry: AuditEntry, service: Service) -> AuditEntryOut:
        """As the service tells of it."""
        last_at = entry.last_at and service.moment(entry.last_at)
        return cls(**entry.to_json() | {"at": service.moment(entry.at), "last_at": last_at})


class AuditPage(Page):
    """Some of the audit log, the newest first."""

    entries: list[AuditEntryOut]


class StatusOut(BaseModel):
    """The gallery at a glance."""

    model: str | None
    model_problem: str | None = Field(description="Why the model cannot be used here.")
    execution_provider: str | None
    verify_threshold: float
    identify_threshold: float
    advised_identify_threshold: float = Field(description="What the people who are enrolled need.")
    calibration_due: bool
    users: int
    photos: int
    embeddings: int
    search: str = Field(description="`exact`, or the index that the first look goes through.")
    search_agreement: float | None
    search_due: bool
    index: str | None
    schema_version: int
    postgresql: str
    pgvector: str
    login_policy: str


class HealthOut(BaseModel):
    """It answers."""

    status: Literal["ok"] = "ok"


class ReadinessOut(BaseModel):
    """What the service needs, and whether it is there."""

    ready: bool
    database: bool
    schema_current: bool = Field(description="Whether the tables are as this version of pgface needs them.")
    model: bool = Field(description="Whether it is loaded.")
