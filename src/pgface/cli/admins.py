"""`pgface admins`: the administrators of the web service."""

from __future__ import annotations

import typer

from pgface.accounts import COMMAND_LINE, add_administrator, list_administrators, remove_administrator
from pgface.cli.options import user_ref
from pgface.cli.output import JsonOption, print_json, print_table, say, when
from pgface.cli.users import UserArgument
from pgface.database.pool import Database
from pgface.gallery.users import full_name, shown_email
from pgface.settings import get_settings

app = typer.Typer(help="Add, remove and list administrators of the web service.", no_args_is_help=True)


@app.command()
def add(user: UserArgument) -> None:
    """Make a user an administrator, who can see and change all data after a login with their password."""
    with Database.open(get_settings()) as database:
        found = add_administrator(database, user_ref(user), COMMAND_LINE)
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
    if json:
        print_json([one.to_json() for one in found])
        return
    rows = [(one.id, one.name, shown_email(one.email), when(one.since)) for one in found]
    print_table(("id", "name", "e-mail", "since"), rows, empty="There are no administrators.")
