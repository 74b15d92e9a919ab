"""The schemas of accounts, logins and tokens."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field

from pgface.accounts.frame_checks import MAX_FRAME_BYTES, MAX_FRAMES
from pgface.faces.liveness.head_turns import Pose
from pgface.server.camera_hints import MAX_HINT_BYTES, Hint
from pgface.server.schemas.base import (
    EXAMPLE_PHOTO,
    Email,
    Name,
    Password,
    PhotoField,
    RequestBody,
    ResponseBody,
    Text,
    Timestamp,
    example,
    example_of,
)
from pgface.server.schemas.users import UserResponse
from pgface.settings import LoginPolicy

_PASSWORD: Final = "four plain words here"  # noqa: S105 - an example
_TOKEN: Final = "mF_9.B5f-4.1JqM"  # noqa: S105 - an example


class LoginRequest(RequestBody):
    """An e-mail and a password."""

    model_config = example({"email": "alice@example.org", "password": _PASSWORD})

    email: Email = Field(description="The user's e-mail.")
    password: Password = Field(description="The user's password.")


class RegisterRequest(LoginRequest):
    """A user who registers."""

    model_config = example({"email": "alice@example.org", "password": _PASSWORD, "name": "Alice"})

    name: Name | None = Field(default=None, description="By default the first part of the e-mail.")


class PasswordRequest(RequestBody):
    """A password."""

    model_config = example({"password": _PASSWORD})

    password: Password = Field(description="The user's password.")


class ChangePasswordRequest(RequestBody):
    """The current password and the new one."""

    model_config = example({"former": _PASSWORD, "new": "other words than before"})

    former: Password = Field(description="The current password.")
    new: Password = Field(description="The new password.")


class ChallengeRequest(RequestBody):
    """The user who starts a login by face."""

    model_config = example({"email": "alice@example.org", "password": _PASSWORD})

    email: Email | None = Field(default=None, description="Not with the policy `identify+liveness`.")
    password: Password | None = Field(default=None, description="With the policy `password+face` only.")


class HintRequest(RequestBody):
    """A frame of the camera before a challenge is answered."""

    model_config = example({"challenge": "mF_9...", "frame": EXAMPLE_PHOTO})

    max_file_bytes = MAX_HINT_BYTES

    challenge: Text = Field(max_length=1000, description="The token of the challenge.")
    frame: PhotoField = Field(description="A frame of the camera.")


class FaceLoginRequest(RequestBody):
    """The next frames of the camera."""

    model_config = example({"challenge": "mF_9...", "frames": [EXAMPLE_PHOTO] * 2})

    max_file_bytes = MAX_FRAMES * MAX_FRAME_BYTES + 10_000

    challenge: Text = Field(max_length=1000, description="The token of the challenge.")
    frames: list[PhotoField] = Field(
        min_length=1,
        max_length=MAX_FRAMES,
        description="The frames since the last request, about ten a second, in order, not mirrored. Each has at most "
        "500 kB and one megapixel.",
    )


class IntrospectRequest(RequestBody):
    """A token that another application received. Other fields of OAuth libraries are ignored."""

    model_config = example({"token": _TOKEN}) | ConfigDict(extra="ignore")

    token: Text = Field(description="The token.")
    token_type_hint: Text | None = Field(default=None, description="Ignored.")


class TokenResponse(ResponseBody):
    """A new login."""

    model_config = example(
        {
            "token": _TOKEN,
            "token_type": "Bearer",
            "user_id": 12,
            "confidence": 1.0,
            "expires_at": "2026-05-04T21:30:00Z",
        }
    )

    token: str = Field(description="Shown only once. pgface does not store it.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type
    user_id: int
    confidence: float = Field(description="1.0 for a password, the similarity for a face.")
    expires_at: Timestamp


class LoginResponse(ResponseBody):
    """A login that has not ended."""

    model_config = example(
        {
            "id": 7,
            "confidence": 1.0,
            "created_at": "2026-05-04T09:30:00Z",
            "expires_at": "2026-05-04T21:30:00Z",
            "current": True,
        }
    )

    id: int
    confidence: float
    created_at: Timestamp
    expires_at: Timestamp | None
    current: bool = Field(description="Whether it is the login of this request.")


class LoginList(ResponseBody):
    """The logins of a user."""

    model_config = example({"logins": [example_of(LoginResponse)]})

    logins: list[LoginResponse]


class MeResponse(ResponseBody):
    """The user and the login of the request's token."""

    model_config = example(
        {"user": example_of(UserResponse), "administrator": False, "login": example_of(LoginResponse)}
    )

    user: UserResponse
    administrator: bool
    login: LoginResponse


class EndedLoginsResponse(ResponseBody):
    """The number of logins that were ended."""

    model_config = example({"ended": 2})

    ended: int


class ChallengeResponse(ResponseBody):
    """The next step of a login by face."""

    model_config = example(
        {"token": "mF_9...", "pose": "left", "progress": 0.14, "seconds": 120, "policy": "password+face"}
    )

    token: str = Field(description="The token to send with the frames. It stays the same until the login is done.")
    pose: Pose = Field(
        description="Where to look, from the person's point of view. `centre` is straight ahead. Hold this pose until "
        "a response has another one."
    )
    progress: float = Field(ge=0, le=1, description="The share of the poses that is done.")
    seconds: int = Field(description="The time limit of the whole login, from the first challenge on.")
    policy: LoginPolicy = Field(description="What a login by face needs.")


class HintResponse(ResponseBody):
    """How to stand in front of the camera."""

    model_config = example({"hint": "ok"})

    hint: Hint = Field(
        description="`ok`, or what is wrong, or where to move from the person's point of view: `left` is to their left."
    )


class IntrospectResponse(ResponseBody):
    """The state of a token (RFC 7662, section 2.2)."""

    model_config = example(
        {
            "active": True,
            "sub": "12",
            "username": "alice@example.org",
            "name": "Alice",
            "token_type": "Bearer",
            "exp": 1777930200,
            "iat": 1777887000,
            "confidence": 1.0,
            "amr": ["pwd"],
        }
    )

    active: bool
    sub: str | None = Field(default=None, description="The user's id.")
    username: str | None = Field(default=None, description="The user's e-mail.")
    name: str | None = None
    token_type: Literal["Bearer"] | None = None
    exp: int | None = Field(default=None, description="When the login ends, in seconds since 1970 in UTC.")
    iat: int | None = Field(default=None, description="When the login began.")
    confidence: float | None = Field(default=None, description="1.0 for a password, the similarity for a face.")
    amr: list[str] | None = Field(default=None, description="How the user logged in (RFC 8176): `pwd`, `face` or both.")
