"""What the service answers, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from pgface.accounts import ApiKey, AuditEntry, Login, LoginOfUser, NewLogin
from pgface.faces.engine import Detection
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
from pgface.server.cursors import Page
from pgface.server.hints import Hint
from pgface.server.service import Service


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


class MatchOut(BaseModel):
    """A person found for a face."""

    user_id: int
    name: str
    email: str
    similarity: float
    confidence: float | None = Field(description="0 to 100; null for a gallery without a model of its own.")

    @classmethod
    def of(cls, match: Match, service: Service) -> MatchOut:
        """As the service tells of a match."""
        known = {name: getattr(match, name) for name in ("user_id", "name", "email", "similarity")}
        return cls(**known, confidence=service.gallery.confidence(match.similarity))


class IdentifiedFaceOut(FaceOut):
    """A face of a photo, and who it is."""

    identified: bool
    matches: list[MatchOut] = Field(description="Those above the threshold, best first; empty for a stranger.")

    @classmethod
    def of(cls, face: IdentifiedFace, service: Service) -> IdentifiedFaceOut:
        """As the service tells of it."""
        matches = [MatchOut.of(match, service) for match in face.matches]
        return cls(**cls.values(face.face), identified=face.identified, matches=matches)


class IdentificationOut(BaseModel):
    """Who is in a photo, for every face, the largest first."""

    model: str
    threshold: float
    gallery_threshold: float = Field(description="The gallery's own for 1:N: who is below it counts as a stranger.")
    faces: list[IdentifiedFaceOut]

    @classmethod
    def of(cls, found: Identification, service: Service) -> IdentificationOut:
        """As the service tells of it."""
        faces = [IdentifiedFaceOut.of(face, service) for face in found.faces]
        own = service.gallery.binding.identify_threshold
        return cls(model=found.model, threshold=found.threshold, gallery_threshold=own, faces=faces)


class ComparisonOut(BaseModel):
    """Whether two photos are of one person."""

    match: bool
    similarity: float
    threshold: float
    confidence: float | None

    @classmethod
    def values(cls, found: Comparison | Verification, service: Service) -> dict[str, Any]:
        """The fields that both answers of 1:1 have."""
        known = {name: getattr(found, name) for name in ("match", "similarity", "threshold")}
        return known | {"confidence": service.gallery.confidence(found.similarity)}


class VerificationOut(ComparisonOut):
    """Whether a photo is of a user."""

    user_id: int

    @classmethod
    def of(cls, found: Verification, service: Service) -> VerificationOut:
        """As the service tells of it."""
        return cls(**cls.values(found, service), user_id=found.user_id)


class EnrollmentOut(BaseModel):
    """What enrolling a photo did."""

    user: UserOut
    photo_id: int
    added: bool = Field(description="False when the user has this photo already; then nothing was changed.")
    face: FaceOut | None = Field(description="Null when nothing was added.")

    @classmethod
    def of(cls, done: Enrollment, service: Service) -> EnrollmentOut:
        """As the service tells of it."""
        face = None if done.face is None else FaceOut(**FaceOut.values(done.face))
        return cls(user=UserOut.of(done.user, service), photo_id=done.photo_id, added=done.added, face=face)


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
    """What to do in front of the camera."""

    token: str
    turns: list[Literal["left", "right", "up"]] = Field(description="Of the head, as the person feels it.")
    seconds: int = Field(description="In which the pictures have to be here.")
    policy: Literal["password+face", "face+liveness", "identify+liveness"] = Field(
        description="What else a login by face asks for."
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
