"""`pgface photos`: the enrolled photos, contested faces and stray files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgface.cli.gallery import open_gallery
from pgface.cli.options import user_ref
from pgface.cli.output import JsonOption, print_json, print_table, say, when
from pgface.gallery.users import shown_email
from pgface.text import counted

if TYPE_CHECKING:
    pass
from pgface.cli.users import AfterOption, LimitOption, YesOption, audited

app = typer.Typer(help="List and delete enrolled photos.", no_args_is_help=True)


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
    if json:
        print_json([photo.to_json() for photo in photos])
        return
    rows = [(p.id, p.user_id, shown_email(p.email), p.filename, when(p.created_at)) for p in photos]
    print_table(("id", "user", "e-mail", "file", "since"), rows, empty="There are no photos.")
    if len(photos) == limit:
        say(f"There may be more. Continue with --after {photos[-1].id}")


@app.command("delete")
def delete_photo(
    photo: Annotated[int, typer.Argument(metavar="ID", help="Id of the photo.")],
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a photo and its embeddings."""
    if not yes:
        typer.confirm(f"Permanently delete photo {photo} and its face?", abort=True)
    with open_gallery() as gallery:
        gallery.erase_photo(photo, within=audited("photo erased"))
    if json:
        print_json({"erased": photo})
    else:
        say(f"Deleted photo {photo}.")


@app.command()
def contested(after: AfterOption = 0, limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List photos that users have enrolled themselves, but that look like another user.

    Verification uses these photos, and identification does not.
    """
    with open_gallery() as gallery:
        found = gallery.contested_faces(after=after, limit=limit)
    if json:
        print_json([face.to_json() for face in found])
        return
    rows = [
        (
            face.photo_id,
            face.email,
            f"{face.created_at:%Y-%m-%d %H:%M}",
            face.looks_like and face.looks_like.email,
            face.looks_like and f"{face.looks_like.similarity:.3f}",
        )
        for face in found
    ]
    print_table(("photo", "user", "since", "looks like", "similarity"), rows, empty="No photo is contested.")


@app.command()
def accept(
    photo: Annotated[int, typer.Argument(metavar="ID", help="Id of the photo.")],
    allow_other_user: Annotated[
        bool, typer.Option("--allow-other-user", help="Accept the face even if it still looks like another user.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Accept a contested photo, so that identification uses it."""
    with open_gallery() as gallery:
        face = gallery.accept_face(photo, allow_other_user=allow_other_user, within=audited("face accepted"))
    if json:
        print_json({"accepted": photo})
    else:
        say(f"Photo {photo} of {face.name} <{face.email}> is accepted.")


@app.command()
def strays(
    delete: Annotated[bool, typer.Option("--delete", help="Delete these files.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """List the face crops in the photos folder that belong to no photo of the gallery.

    Restoring an old backup can leave such files.
    """
    with open_gallery() as gallery:
        found = gallery.stray_photo_files()
        if delete and found:
            if not yes:
                typer.confirm(
                    f"Permanently delete {counted(len(found), 'file that belongs', 'files that belong')} to no photo?",
                    abort=True,
                )
            found = gallery.remove_stray_photo_files()
    files = [str(file) for file in found]
    if json:
        print_json({"removed" if delete else "strays": files})
        return
    for file in files:
        say(file)
    if not files:
        say("Every file belongs to a photo.")
    else:
        say(
            f"Deleted {counted(len(files), 'file')}."
            if delete
            else f"{counted(len(files), 'file belongs', 'files belong')} to no photo. Use --delete to delete them."
        )
