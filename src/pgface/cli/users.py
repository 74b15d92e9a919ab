"""`pgface users`: the users of the gallery."""

from __future__ import annotations

import sys
from collections.abc import Callable
from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgface.cli.gallery import open_gallery
from pgface.cli.options import (
    AfterOption,
    ExternalIdOption,
    JsonOption,
    LabelsOption,
    LimitOption,
    MetadataOption,
    NewNameOption,
    UserArgument,
    WithLabelsOption,
    YesOption,
    metadata_of,
    user_ref,
)
from pgface.cli.output import print_facts, print_json, print_result, print_results, print_table, say, when
from pgface.database.pool import Database
from pgface.gallery.users import full_name, read_users, shown_email
from pgface.settings import get_settings
from pgface.text import counted

if TYPE_CHECKING:
    import psycopg

    from pgface.accounts.audit_log import Event

app = typer.Typer()


def audited(event: Event) -> Callable[[psycopg.Connection, Any], None]:
    """Return a function that records an event in the audit log, in the transaction of the change itself."""
    from pgface.accounts.audit_log import record
    from pgface.accounts.client import COMMAND_LINE

    def record_event(connection: psycopg.Connection, changed: Any) -> None:
        user_id = changed if isinstance(changed, int) else getattr(changed, "user_id", None) or changed.id
        record(connection, event, COMMAND_LINE, user_id=user_id)

    return record_event


@app.command()
def add(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail of the new user.")],
    name: NewNameOption = None,
    external_id: ExternalIdOption = None,
    labels: LabelsOption = None,
    metadata: MetadataOption = None,
    json: JsonOption = False,
) -> None:
    """Add a user without photos."""
    about = metadata_of(metadata)
    with open_gallery() as gallery:
        user = gallery.add_user(
            email, name, external_id=external_id, labels=labels or (), metadata=about, within=audited("user added")
        )
    print_result(user.to_json(), f"Added user {user.id}: {full_name(user.name, user.email)}.", json)


@app.command()
def update(
    user: UserArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The new name.")] = None,
    external_id: Annotated[
        str | None,
        typer.Option("--external-id", metavar="ID", help="The new id in another system. An empty text deletes it."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="LABEL", help="A new label, in place of all earlier ones. You can repeat it."),
    ] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Delete all labels.")] = False,
    metadata: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="The new metadata, in place of all earlier ones: a JSON object, up to 8 kB."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Change the name, external id, labels or metadata of a user."""
    if no_labels and labels:
        raise typer.BadParameter("give --label or --no-labels, not both")
    about = metadata_of(metadata)
    with open_gallery() as gallery:
        changed = gallery.update_user(
            user_ref(user),
            name=name,
            external_id=external_id,
            labels=[] if no_labels else labels or None,
            metadata=about,
            within=audited("user changed"),
        )
    print_result(changed.to_json(), f"Changed user {changed.id}: {full_name(changed.name, changed.email)}.", json)


@app.command("list")
def list_users(
    labels: WithLabelsOption = None, after: AfterOption = 0, limit: LimitOption = 100, json: JsonOption = False
) -> None:
    """List the users, ordered by id."""
    with Database.open(get_settings()) as database:
        users = read_users(database, after=after, limit=limit, labels=labels or ())
    empty = "There are no users yet. Add one with `pgface enroll`."
    if after or labels:
        empty = "There are no users after this id." if after else "No user has these labels."
    print_results(
        users,
        json,
        ("id", "name", "e-mail", "photos", "embeddings", "since"),
        lambda u: (u.id, u.name, shown_email(u.email), u.photos, u.embeddings, when(u.created_at)),
        empty=empty,
    )
    if len(users) == limit and not json:
        say(f"There may be more. Continue with --after {users[-1].id}")


@app.command()
def show(user: UserArgument, json: JsonOption = False) -> None:
    """Show a user and their photos."""
    with open_gallery() as gallery:
        found = gallery.user(user_ref(user))
        photos = [(photo, gallery.photo_place(photo)) for photo in gallery.photos(found.id)]
    if json:
        print_json(found.to_json() | {"photo_files": [photo.to_json() | {"file": file} for photo, file in photos]})
        return
    facts = {
        "id": found.id,
        "name": found.name,
        "e-mail": shown_email(found.email),
        "external id": found.external_id,
        "labels": ", ".join(found.labels) or None,
        "metadata": dumps(dict(found.metadata), ensure_ascii=False) if found.metadata else None,
        "since": when(found.created_at),
        "photos": found.photos,
        "embeddings": found.embeddings,
    }
    print_facts(facts.items())
    rows = [(photo.id, photo.filename, file) for photo, file in photos]
    print_table(("photo", "file", "face crop"), rows, empty="This user has no photos.")


@app.command()
def delete(user: UserArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """Delete a user with all rows, embeddings, sessions and files."""
    with open_gallery() as gallery:
        found = gallery.user(user_ref(user))
        who = f"{full_name(found.name, found.email)} with {counted(found.photos, 'photo')}"
        if not yes:
            typer.confirm(f"Permanently delete {who}?", abort=True)
        gallery.erase_user(found.id, within=audited("user deleted"))
    print_result({"deleted": found.to_json()}, f"Deleted {who}.", json)


@app.command()
def merge(
    user: Annotated[str, typer.Argument(metavar="USER", help="E-mail, id or name of the user to merge and delete.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="E-mail, id or name of the user to keep.")],
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Merge two users who are the same person, and delete the first."""
    with open_gallery() as gallery:
        merged, kept = gallery.user(user_ref(user)), gallery.user(user_ref(into))
        merged_name, kept_name = (full_name(one.name, one.email) for one in (merged, kept))
        if not yes and merged.id != kept.id:  # merging a user with itself is an error, not a question
            moved = f"Move {counted(merged.photos, 'photo')} of {merged_name} to {kept_name}"
            typer.confirm(f"{moved}, and permanently delete the first user?", abort=True)
        found = gallery.merge_users(merged.id, kept.id, within=audited("users merged"))
    sentence = (
        f"{full_name(found.name, found.email)} now has {counted(found.photos, 'photo')}. {merged_name} is deleted."
    )
    print_result(found.to_json(), sentence, json)


@app.command("set-password")
def set_password(user: UserArgument) -> None:
    """Set a user's password and end their sessions. Asks for the password, or reads the first line of a pipe."""
    from pgface.accounts import COMMAND_LINE, Accounts

    with open_gallery() as gallery:
        found = gallery.user(user_ref(user))
        if sys.stdin.isatty():
            password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        Accounts(gallery).set_password(found.id, password, client=COMMAND_LINE)
    say(f"Set the password of {full_name(found.name, found.email)}, and ended all their sessions.")
