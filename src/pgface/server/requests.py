"""What the service takes, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pgface.accounts.face_login import MOST_FRAMES
from pgface.faces.choice import WhichFace
from pgface.server.bodies import Body, PhotoField


def _text(value: str) -> str:
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in value):
        raise ValueError("holds characters that are no text")
    return value


Text = Annotated[str, AfterValidator(_text)]
"""Without zero bytes and half characters (surrogates), which JSON can carry and PostgreSQL cannot."""
Email = Annotated[Text, Field(max_length=255, examples=["alice@example.org"])]
Password = Annotated[str, Field(max_length=1024, json_schema_extra={"format": "password"})]
Name = Annotated[Text, Field(max_length=255)]
Similarity = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Which = Annotated[
    WhichFace,
    Field(
        description="`only` refuses a photo with several faces, `largest` takes the largest, `central` the large one "
        "nearest the middle. At enrollment, `only` leaves small faces in the background aside."
    ),
]


class NewUser(Body):
    """A person to add, without a photo."""

    email: Email
    name: Name | None = Field(default=None, description="The e-mail's first part if not given.")


class NewPhoto(Body):
    """A photo to enroll for a user."""

    photo: PhotoField
    face: Which = "only"
    allow_other_user: bool = Field(
        default=False, description="Also if the face is another user's; only for administrators."
    )


class NewPhotoOf(NewPhoto):
    """A photo to enroll for a user with an e-mail, who is added if there is none."""

    email: Email | None = Field(default=None, description="May be left out where a name is given.")
    name: Name | None = Field(
        default=None,
        description="Of a user who is added; the e-mail's first part if not given. Without an e-mail it says who is "
        "meant, as the name of a folder does for `pgface enroll --folder`: its e-mail is then `<name>@pgface.invalid`.",
    )


class Probe(Body):
    """A photo, and who is in it?"""

    photo: PhotoField
    threshold: Similarity | None = Field(default=None, description="The gallery's own for 1:N if not given.")
    top: int = Field(default=1, ge=1, le=100, description="People for each face at most.")


class Claim(Body):
    """A photo, and is it this user?"""

    photo: PhotoField
    user_id: int | None = Field(default=None, ge=1, le=2**31 - 1)
    email: Email | None = Field(default=None, description="In place of `user_id`. A person may give neither.")
    name: Name | None = Field(
        default=None, description="In place of `user_id`, where one user alone has it. Not for a person."
    )
    threshold: Similarity | None = Field(default=None, description="The gallery's own for 1:1 if not given.")
    face: Which = "only"


class Pair(Body):
    """Two photos, and are they of one person?"""

    photo: PhotoField
    other: PhotoField
    threshold: Similarity | None = Field(default=None, description="The gallery's own for 1:1 if not given.")
    face: Which = "only"


class Picture(Body):
    """A photo."""

    photo: PhotoField


class Registration(Body):
    """Somebody new."""

    email: Email
    password: Password
    name: Name | None = None


class Credentials(Body):
    """An e-mail and its password."""

    email: Email
    password: Password


class PasswordOnly(Body):
    """The password of who is logged in."""

    password: Password


class PasswordChange(Body):
    """The former password and the new one."""

    former: Password
    new: Password


class FaceClaim(Body):
    """Who is about to log in by face."""

    email: Email | None = Field(default=None, description="Not with the policy `identify+liveness`.")
    password: Password | None = Field(default=None, description="With the policy `password+face` only.")


class FaceAnswer(Body):
    """The next frames of the camera."""

    challenge: Text = Field(max_length=1000, description="Its token.")
    frames: list[PhotoField] = Field(
        min_length=1,
        max_length=MOST_FRAMES,
        description="Those since the last ones, some ten a second, in order, not mirrored; each of 500 kB and a "
        "megapixel at most.",
    )


class Glimpse(Body):
    """What the camera sees before a challenge is answered."""

    challenge: Text = Field(max_length=1000, description="Its token.")
    frame: PhotoField


class NewKey(Body):
    """A key to make for a program."""

    name: Name
    scopes: list[Literal["identify", "verify", "enroll", "admin", "metrics"]] = Field(min_length=1)
