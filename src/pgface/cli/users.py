"""`pgface users` and `pgface photos`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import psycopg
import typer

from pgface.accounts import COMMAND_LINE
from pgface.accounts.audit import Event, record
from pgface.cli.gallery import user_ref
from pgface.cli.output import JsonOption, print_facts, print_json, print_table, say
from pgface.gallery import Gallery

app = typer.Typer(help="The people of the gallery.", no_args_is_help=True)
photos_app = typer.Typer(help="The enrolled photos.", no_args_is_help=True)

_MAX_INT = 2**31 - 1
"""The greatest id, and what PostgreSQL takes as a number of rows."""

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="E-mail or id.")]
AfterOption = Annotated[int, typer.Option(min=0, max=_MAX_INT, help="Begin after this id.")]
LimitOption = Annotated[int, typer.Option(min=1, max=_MAX_INT, help="As many as this at most.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def noted(event: Event) -> Callable[[psycopg.Connection, Any], None]:
    """Adds a row of the audit log to the transaction of what it tells of."""

    def note(connection: psycopg.Connection, of: Any) -> None:
        user_id = of if isinstance(of, int) else getattr(of, "user_id", None) or of.id
        record(connection, event, COMMAND_LINE, user_id=user_id)

    return note


@app.command()
def add(
    email: Annotated[str, typer.Argument(help="E-mail.")],
    name: Annotated[str | None, typer.Option(help="Name; the e-mail's first part if not given.")] = None,
    json: JsonOption = False,
) -> None:
    """Add a person who has no photos yet."""
    with Gallery.open() as gallery:
        user = gallery.add_user(email, name, within=noted("user added"))
    if json:
        print_json(user.to_json())
    else:
        say(f"Added user {user.id}: {user.name} <{user.email}>.")


@app.command("list")
def list_users(after: AfterOption = 0, limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List the users in the order of their ids."""
    with Gallery.open() as gallery:
        users = gallery.users(after=after, limit=limit)
    if json:
        print_json([user.to_json() for user in users])
        return
    rows = [(u.id, u.name, u.email, u.photos, u.embeddings, f"{u.created_at:%Y-%m-%d %H:%M}") for u in users]
    empty = "There are no users yet; `pgface enroll` adds them." if not after else "There are no users after this id."
    print_table(("id", "name", "e-mail", "photos", "embeddings", "since"), rows, empty=empty)
    if len(users) == limit:
        say(f"For those after them: --after {users[-1].id}")


@app.command()
def show(user: UserArgument, json: JsonOption = False) -> None:
    """Show a user and their photos."""
    with Gallery.open() as gallery:
        found = gallery.user(user_ref(user))
        photos = gallery.photos(found.id)
        files = [str(gallery.photo_file(photo)) for photo in photos]
    if json:
        print_json(
            found.to_json() | {"photo_files": [p.to_json() | {"file": f} for p, f in zip(photos, files, strict=True)]}
        )
        return
    print_facts(found.to_json().items())
    rows = [(photo.id, photo.filename, file) for photo, file in zip(photos, files, strict=True)]
    print_table(("photo", "name", "face crop"), rows, empty="This user has no photos.")


@app.command()
def delete(user: UserArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """Erase a person: rows, embeddings, tokens and files."""
    with Gallery.open() as gallery:
        found = gallery.user(user_ref(user))
        if not yes:
            typer.confirm(f"Erase {found.name} <{found.email}> with {found.photos} photos, for good?", abort=True)
        gallery.erase_user(found.id, within=noted("user erased"))
    if json:
        print_json({"erased": found.to_json()})
    else:
        say(f"Erased {found.name} <{found.email}> with {found.photos} photos.")


@app.command()
def merge(
    user: Annotated[str, typer.Argument(metavar="USER", help="E-mail or id of the user who is merged, and erased.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="E-mail or id of the user who gets the photos.")],
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Give a user's photos to another user, when both are one person."""
    with Gallery.open() as gallery:
        merged, kept = gallery.user(user_ref(user)), gallery.user(user_ref(into))
        if not yes and merged.id != kept.id:  # else there is nothing to ask
            typer.confirm(
                f"Give {merged.photos} photos of {merged.name} <{merged.email}> to {kept.name} <{kept.email}>, and "
                "erase the first user for good?",
                abort=True,
            )
        found = gallery.merge_users(merged.id, kept.id, within=noted("users merged"))
    if json:
        print_json(found.to_json())
    else:
        say(f"{found.name} <{found.email}> now has {found.photos} photos; {merged.name} <{merged.email}> is gone.")


@photos_app.command("list")
def list_photos(
    user: Annotated[str | None, typer.Option("--user", help="Of this user: e-mail or id.")] = None,
    after: AfterOption = 0,
    limit: LimitOption = 100,
    json: JsonOption = False,
) -> None:
    """List the enrolled photos in the order of their ids."""
    with Gallery.open() as gallery:
        photos = gallery.photos(None if user is None else user_ref(user), after=after, limit=limit)
    if json:
        print_json([photo.to_json() for photo in photos])
        return
    rows = [(p.id, p.email, p.filename, f"{p.created_at:%Y-%m-%d %H:%M}") for p in photos]
    print_table(("id", "user", "name", "since"), rows, empty="There are no photos.")
    if len(photos) == limit:
        say(f"For those after them: --after {photos[-1].id}")


@photos_app.command("delete")
def delete_photo(
    photo: Annotated[int, typer.Argument(help="Id of the photo.")], yes: YesOption = False, json: JsonOption = False
) -> None:
    """Erase a photo, with the embeddings made from it."""
    if not yes:
        typer.confirm(f"Erase photo {photo} and its face, for good?", abort=True)
    with Gallery.open() as gallery:
        gallery.erase_photo(photo, within=noted("photo erased"))
    if json:
        print_json({"erased": photo})
    else:
        say(f"Erased photo {photo}.")


@photos_app.command()
def contested(after: AfterOption = 0, limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List photos that users have enrolled themselves and whose faces look like other users'.

    They are compared where it is asked whether a photo shows that user, and not where it is asked whom it shows.
    """
    with Gallery.open() as gallery:
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


@photos_app.command()
def accept(
    photo: Annotated[int, typer.Argument(help="Id of the photo.")],
    allow_other_user: Annotated[
        bool, typer.Option("--allow-other-user", help="Also if the face still looks like another user's.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Let identification find the face of a contested photo."""
    with Gallery.open() as gallery:
        face = gallery.accept_face(photo, allow_other_user=allow_other_user, within=noted("face accepted"))
    if json:
        print_json({"accepted": photo})
    else:
        say(f"Photo {photo} of {face.name} <{face.email}> is accepted.")


@photos_app.command()
def strays(
    delete: Annotated[bool, typer.Option("--delete", help="Remove them.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """List the face crops in the photos folder that belong to no photo of the gallery, as an old backup leaves them."""
    with Gallery.open() as gallery:
        found = gallery.stray_photo_files()
        if delete and found:
            if not yes:
                typer.confirm(f"Remove {len(found)} files that belong to no photo, for good?", abort=True)
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
            f"Removed {len(files)} files."
            if delete
            else f"{len(files)} files belong to no photo; --delete removes them."
        )
