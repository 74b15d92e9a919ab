"""Arguments and options that several commands share, and how commands read users from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pgface.errors import UnknownUserError

if TYPE_CHECKING:
    from pgface.gallery.users import UserRef

_MAX_INT = 2**31 - 1
"""The largest id, and the largest number of rows that PostgreSQL accepts as a limit."""

FaceChoice = Literal["only", "largest", "central"]
"""The same as `pgface.faces.face_choice.WhichFace`, without the imports of that module."""


def _not_nan(value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # NaN passes the comparisons with min and max
        raise typer.BadParameter("it must be a number from -1 to 1")
    return value


def file_ending_in(suffixes: Sequence[str]) -> Callable[[Path | None], Path | None]:
    """Return a callback for an option that accepts only files with these suffixes, such as ".png"."""

    def check(file: Path | None) -> Path | None:
        if file is not None and file.suffix.lower() not in suffixes:
            raise typer.BadParameter(f"give a file that ends in {', '.join(suffixes)}")
        return file

    return check


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
AfterOption = Annotated[int, typer.Option(min=0, max=_MAX_INT, metavar="ID", help="Start after this id.")]
LimitOption = Annotated[int, typer.Option(min=1, max=_MAX_INT, metavar="N", help="Maximum number of rows.")]

_USER_HELP = "E-mail, id or name of the user, or external:ID."
_EXTERNAL = "external:"
"""The start of an argument that is an external id."""
UserArgument = Annotated[str, typer.Argument(metavar="USER", help=_USER_HELP)]
UserOption = Annotated[str, typer.Option("--user", metavar="USER", help=_USER_HELP)]
NewNameOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of a new user. The part before the @ by default.")
]
ExternalIdOption = Annotated[
    str | None, typer.Option("--external-id", metavar="ID", help="Id of the user in another system.")
]
LabelsOption = Annotated[
    list[str] | None, typer.Option("--label", metavar="LABEL", help="A label of the user. You can repeat it.")
]
WithLabelsOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="LABEL", help="Only users with this label. Repeat it for users with all of them."),
]
MetadataOption = Annotated[
    str | None, typer.Option(metavar="JSON", help="A JSON object that is stored with the user, up to 8 kB.")
]
PhotoIdArgument = Annotated[int, typer.Argument(metavar="ID", help="Id of the photo.")]

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
FACES_HELP = (
    "In a photo with several faces: refuse it unless the others are small, take the largest, or take the large one "
    "nearest the middle."
)
FaceOption = Annotated[FaceChoice, typer.Option("--faces", help=FACES_HELP)]

PeopleArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER", help="A folder with a subfolder of photos for each person. The enrolled photos by default."
    ),
]
CacheOption = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Keep the embeddings for 30 days to speed up later runs.")
]


def user_ref(text: str) -> UserRef:
    """Read a user from an argument: digits are an id, and after `external:` comes an external id.

    Anything else is an e-mail or a name.

    Raises:
        UnknownUserError: the number is longer than any id.

    """
    if text.startswith(_EXTERNAL):
        from pgface.gallery.attributes import ExternalId

        return ExternalId(text.removeprefix(_EXTERNAL))
    if not (text.isascii() and text.isdigit()):
        return text
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_MAX_INT)):  # int() refuses numbers of several thousand digits
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise UnknownUserError(f"There is no user with the id {shown}. `pgface users list` shows the users.")
    return int(digits)


def metadata_of(text: str | None) -> dict[str, Any] | None:
    """Read metadata from an option. None if it was not given."""
    if text is None:
        return None
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise typer.BadParameter("it must be a JSON object, such as '{\"room\": 12}'", param_hint="--metadata")
    return metadata
