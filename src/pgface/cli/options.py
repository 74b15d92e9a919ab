"""Options and arguments that several commands share, and how they read users."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pgface.errors import UnknownUserError

if TYPE_CHECKING:
    from pgface.gallery.users import UserRef

_MAX_ID_DIGITS = len("2147483647")


FaceChoice = Literal["only", "largest", "central"]
"""The same as `pgface.faces.choice.WhichFace`, without the imports of that module."""


def _not_nan(value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # NaN passes the comparisons with min and max
        raise typer.BadParameter("it must be a number from -1 to 1")
    return value


ThresholdOption = Annotated[
    float | None,
    typer.Option(
        min=-1,
        max=1,
        callback=_not_nan,
        metavar="SIMILARITY",
        help="Minimum similarity. The gallery's threshold by default.",
    ),
]
FaceOption = Annotated[
    FaceChoice,
    typer.Option(
        "--faces",
        help="In a photo with several faces: refuse it, take the largest, or the large one nearest the middle.",
    ),
]
UserOption = Annotated[str, typer.Option("--user", metavar="USER", help="E-mail, id or name of the user.")]


def user_ref(text: str) -> UserRef:
    """Read a user from an argument: digits are an id, anything else is an e-mail or a name.

    Raises:
        UnknownUserError: The number is longer than any id.

    """
    if not (text.isascii() and text.isdigit()):
        return text
    digits = text.lstrip("0") or "0"
    if len(digits) > _MAX_ID_DIGITS:  # int() refuses numbers of several thousand digits
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise UnknownUserError(f"There is no user with the id {shown}. `pgface users list` lists the users.")
    return int(digits)
