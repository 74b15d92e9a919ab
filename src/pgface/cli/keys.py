"""`pgface keys`: the API keys of programs."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.accounts import COMMAND_LINE, SCOPES, create_key, list_keys, revoke_key
from pgface.cli.options import JsonOption
from pgface.cli.output import print_json, print_results, say, when
from pgface.database.pool import Database
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label for the key.")],
    scope: Annotated[str, typer.Option(metavar="SCOPE,...", help=f"What the key may do: {', '.join(SCOPES)}.")],
    all_galleries: Annotated[
        bool, typer.Option("--all-galleries", help="Let the key work for all galleries, not only the default one.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Create a key for a program. It is printed only once, because pgface stores only its hash."""
    scopes = [one.strip() for one in scope.split(",") if one.strip()]
    with Database.open(get_settings()) as database:
        key, stored = create_key(database, name, scopes, COMMAND_LINE, all_galleries=all_galleries)
    if json:
        print_json({"key": key} | stored.to_json())
    else:
        typer.echo(key)


@app.command("list")
def list_api_keys(json: JsonOption = False) -> None:
    """List the keys with their scopes and dates. The secret parts are not stored."""
    with Database.open(get_settings()) as database:
        keys = list_keys(database)
    print_results(
        keys,
        json,
        ("id", "name", "scopes", "galleries", "since", "last used", "revoked"),
        lambda key: (
            key.id,
            key.name,
            ", ".join(key.scopes),
            "all" if key.all_galleries else "this",
            *(when(moment) for moment in (key.created_at, key.last_used_at, key.revoked_at)),
        ),
        empty="There are no keys.",
    )


@app.command("revoke")
def revoke_api_key(key: Annotated[int, typer.Argument(metavar="ID", help="Id of the key.")]) -> None:
    """Revoke a key."""
    with Database.open(get_settings()) as database:
        revoke_key(database, key, COMMAND_LINE)
    say(f"Key {key} is revoked.")
