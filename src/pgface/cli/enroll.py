"""`pgface enroll`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pgface.cli.failures import PHOTO_ERRORS, exit_if_any, failure
from pgface.cli.gallery import open_gallery
from pgface.cli.options import (
    ExternalIdOption,
    FaceChoice,
    JsonOption,
    LabelsOption,
    MetadataOption,
    NewNameOption,
    metadata_of,
    user_ref,
)
from pgface.cli.output import box_text, print_json, print_table, say
from pgface.gallery.users import shown_email

if TYPE_CHECKING:
    from pgface.gallery.users import UserRef
    from pgface.results import Enrollment

app = typer.Typer()


def _folder(text: str) -> Path:
    if not text:  # as a path, an empty text is the current folder
        raise typer.BadParameter("give the path of a folder")
    return Path(text)


@app.command()
def enroll(
    photos: Annotated[list[Path] | None, typer.Argument(metavar="PHOTO", help="Photos of the user.")] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user",
            metavar="USER",
            help="E-mail, id or name of the user. A new e-mail adds a user. With --faces all, give one for each face.",
        ),
    ] = None,
    name: NewNameOption = None,
    external_id: ExternalIdOption = None,
    labels: LabelsOption = None,
    metadata: MetadataOption = None,
    folder: Annotated[
        Path | None,
        typer.Option(parser=_folder, metavar="FOLDER", help="Enroll a folder of people: FOLDER/<person>/<photo>."),
    ] = None,
    faces: Annotated[
        Literal["only", "largest", "central", "all"],
        typer.Option(
            help="In a photo with several faces: refuse it unless the others are small, take the largest, take the "
            "large one nearest the middle, or take all from left to right."
        ),
    ] = "only",
    allow_other_user: Annotated[
        bool, typer.Option("--allow-other-user", help="Enroll a face even if it already belongs to another user.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the outcome of each photo of a folder to a CSV file. It contains names and e-mails.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Enroll photos of a user, or a folder of people."""
    about = metadata_of(metadata)
    new = {"external_id": external_id, "labels": labels, "metadata": about}
    new = {option: value for option, value in new.items() if value is not None}
    if (folder is None) == (not photos):
        raise typer.BadParameter("give photos and --user, or --folder")
    if folder is not None:
        if user or name or faces == "all" or new:
            raise typer.BadParameter("--folder takes people from its subfolders' names and one face from each photo")
        from pgface.cli.enroll_folder import enroll_folder

        enroll_folder(folder, faces, allow_other_user, report, json)
        return
    if not user or (len(user) > 1 and faces != "all"):
        raise typer.BadParameter("give one --user, or one for each face with --faces all")
    if (name is not None or new) and faces == "all":
        raise typer.BadParameter(
            "--name, --external-id, --label and --metadata are for one new user. With --faces all, add the users first"
        )
    if name is not None:
        new["name"] = name
    _enroll_photos(photos or [], [user_ref(u) for u in user], new, faces, allow_other_user, json)


def _enroll_photos(
    photos: list[Path],
    users: list[UserRef],
    new: dict[str, Any],
    faces: FaceChoice | Literal["all"],
    allow_other_user: bool,
    json: bool,
) -> None:
    done: list[Enrollment] = []
    failed: list[dict[str, Any]] = []
    with open_gallery() as gallery:
        for photo in photos:
            try:
                if faces == "all":
                    enrolled = gallery.enroll_all(photo, users, allow_other_user=allow_other_user)
                else:
                    enrolled = [gallery.enroll(photo, users[0], face=faces, allow_other_user=allow_other_user, **new)]
            except PHOTO_ERRORS as error:
                failed.append(failure(photo, error))
            else:
                done += (replace(enrollment, photo=str(photo)) for enrollment in enrolled)
    if json:
        print_json({"enrolled": [enrollment.to_json() for enrollment in done], "failed": failed})
    elif done:
        _print_enrolled(done)
    exit_if_any(failed)


def _print_enrolled(done: list[Enrollment]) -> None:
    from pgface.faces.face_choice import face_sizes

    rows = []
    for one in done:
        outcome = "enrolled" if one.added else "already enrolled"
        rows.append((one.photo, one.user.name, shown_email(one.user.email), outcome, box_text(one.face)))
    print_table(("photo", "name", "e-mail", "outcome", "box"), rows, empty="")
    for one in done:
        if one.left_aside:
            say(f"{one.photo}: left aside in the background: {face_sizes(one.left_aside)} pixels.")
