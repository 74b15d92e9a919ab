"""`pgface admins`: the administrators of the web service."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.accounts import COMMAND_LINE, add_administrator, list_administrators, remove_administrator
from pgface.cli.options import JsonOption, UserArgument, user_ref
from pgface.cli.output import print_results, say, when
from pgface.database.pool import Database
from pgface.gallery.users import full_name, shown_email
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def add(
    user: UserArgument,
    all_galleries: Annotated[
        bool, typer.Option("--all-galleries", help="Also of all galleries, which they can then create and delete.")
    ] = False,
) -> None:
    """Make a user an administrator, who can see and change all data after a login with their password."""
    with Database.open(get_settings()) as database:
        found = add_administrator(database, user_ref(user), COMMAND_LINE, all_galleries=all_galleries)
    say(f"{full_name(found.name, found.email)} is an administrator.")


@app.command()
def remove(user: UserArgument) -> None:
    """Make an administrator an ordinary user again."""
    with Database.open(get_settings()) as database:
        found = remove_administrator(database, user_ref(user), COMMAND_LINE)
    say(f"{full_name(found.name, found.email)} is an ordinary user.")


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the administrators."""
    with Database.open(get_settings()) as database:
        found = list_administrators(database)
    print_results(
        found,
        json,
        ("id", "name", "e-mail", "galleries", "since"),
        lambda one: (one.id, one.name, shown_email(one.email), "all" if one.all_galleries else "this", when(one.since)),
        empty="There are no administrators.",
    )
