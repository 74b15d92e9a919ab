"""`pgface photos`: the enrolled photos, contested faces and stray files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.gallery import open_gallery
from pgface.cli.options import AfterOption, JsonOption, LimitOption, PhotoIdArgument, YesOption, user_ref
from pgface.cli.output import print_error, print_json, print_result, print_results, progress, say, when
from pgface.cli.users import audited
from pgface.gallery.users import shown_email
from pgface.settings import get_settings
from pgface.system.signals import termination_as_keyboard_interrupt
from pgface.text import counted

app = typer.Typer()


@app.command("list")
def list_photos(
    user: Annotated[
        str | None, typer.Option("--user", metavar="USER", help="Only photos of this user (e-mail, id or name).")
    ] = None,
    after: AfterOption = 0,
    limit: LimitOption = 100,
    json: JsonOption = False,
) -> None:
    """List the enrolled photos, ordered by id."""
    with open_gallery() as gallery:
        photos = gallery.photos(None if user is None else user_ref(user), after=after, limit=limit)
    print_results(
        photos,
        json,
        ("id", "user", "e-mail", "file", "since"),
        lambda photo: (photo.id, photo.user_id, shown_email(photo.email), photo.filename, when(photo.created_at)),
        empty="There are no photos.",
    )
    if len(photos) == limit and not json:
        say(f"There may be more. Continue with --after {photos[-1].id}")


@app.command("delete")
def delete_photo(photo: PhotoIdArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """Delete a photo and its embeddings."""
    if not yes:
        typer.confirm(f"Permanently delete photo {photo} and its face?", abort=True)
    with open_gallery() as gallery:
        gallery.erase_photo(photo, within=audited("photo deleted"))
    print_result({"deleted": photo}, f"Deleted photo {photo}.", json)


@app.command("set-face-ids")
def set_ids_of_faces(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The JSON that ListFaces of Amazon Rekognition has returned.")
    ],
    json: JsonOption = False,
) -> None:
    """Give indexed faces the FaceId and ImageId that they had in Amazon Rekognition.

    Index the photos first, with the same ExternalImageId. A face is found by it and by its box.
    """
    from pgface.gallery.face_id_import import read_former_faces, set_face_ids

    former = read_former_faces(file)
    with open_gallery() as gallery:
        report = set_face_ids(gallery, former)
    values = {"set": report.set, "not_found": report.not_found}
    sentence = f"Set the ids of {counted(report.set, 'face')}. {counted(len(report.not_found), 'face')} not found."
    print_result(values, sentence, json)


@app.command()
def contested(after: AfterOption = 0, limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List photos that users have enrolled themselves, but that look like another user.

    Verification uses these photos, and identification does not.
    """
    with open_gallery() as gallery:
        found = gallery.contested_faces(after=after, limit=limit)
    print_results(
        found,
        json,
        ("photo", "user", "since", "looks like", "similarity"),
        lambda face: (
            face.photo_id,
            face.email,
            f"{face.created_at:%Y-%m-%d %H:%M}",
            face.looks_like and face.looks_like.email,
            face.looks_like and f"{face.looks_like.similarity:.3f}",
        ),
        empty="No photo is contested.",
    )


@app.command()
def accept(
    photo: PhotoIdArgument,
    allow_other_user: Annotated[
        bool, typer.Option("--allow-other-user", help="Accept the face even if it still looks like another user.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Accept a contested photo, so that identification uses it."""
    with open_gallery() as gallery:
        face = gallery.accept_face(photo, allow_other_user=allow_other_user, within=audited("face accepted"))
    print_result({"accepted": photo}, f"Photo {photo} of {face.name} <{face.email}> is accepted.", json)


@app.command("move")
def move(
    to: Annotated[str, typer.Option(metavar="STORE", help="`folder`, `postgres`, or `s3://BUCKET/PREFIX`.")],
    json: JsonOption = False,
) -> None:
    """Move the face crops to another photo store, while the gallery stays in use.

    Each crop is checked in the new store before the old one is deleted. Run it again after an interruption.
    """
    from pgface.operations.move_photos import move_photos

    with termination_as_keyboard_interrupt(), progress() as show:
        report = move_photos(get_settings(), to, on_photos=show)
    if json:
        print_json(report.to_json())
        return
    say(f"Moved {counted(report.moved, 'photo')} in {report.seconds:.1f} s. New photos go to {report.photo_store}.")
    if report.missing:
        print_error(f"{counted(len(report.missing), 'crop was', 'crops were')} not found: run `pgface doctor`.")
    if report.elsewhere:
        print_error(
            f"{counted(report.elsewhere, 'photo has its file', 'photos have their files')} in the photos folder of "
            "another machine. Run this command there, too."
        )
    if report.left:
        print_error(f"{counted(report.left, 'photo was', 'photos were')} locked. Run this command again.")
    if report.to_delete:
        print_error(f"{counted(report.to_delete, 'old crop is', 'old crops are')} not deleted yet. pgface tries again.")


@app.command()
def strays(
    delete: Annotated[bool, typer.Option("--delete", help="Delete these files.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """List the face crops that belong to no photo of the gallery, in every photo store.

    Restoring an old backup can leave such files.
    """
    with open_gallery() as gallery:
        found = gallery.stray_photo_files()
        if delete and found:
            if not yes:
                files = counted(len(found), "file that belongs", "files that belong")
                typer.confirm(f"Permanently delete {files} to no photo?", abort=True)
            found = gallery.remove_stray_photo_files()
    if json:
        print_json({"removed" if delete else "strays": found})
        return
    for file in found:
        say(file)
    if not found:
        say("Every file belongs to a photo.")
    elif delete:
        say(f"Deleted {counted(len(found), 'file')}.")
    else:
        say(f"{counted(len(found), 'file belongs', 'files belong')} to no photo. Use --delete to delete them.")
