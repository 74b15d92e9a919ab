"""`pgface keys`: the API keys of programs."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.accounts import COMMAND_LINE, SCOPES, create_key, list_keys, revoke_key
from pgface.accounts.compreface_keys import SERVICES, create_compreface_key
from pgface.cli.options import JsonOption
from pgface.cli.output import print_json, print_results, say, when
from pgface.database.pool import Database
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A label for the key.")],
    scope: Annotated[
        str | None, typer.Option(metavar="SCOPE,...", help=f"What the key may do: {', '.join(SCOPES)}.")
    ] = None,
    compreface: Annotated[
        str | None,
        typer.Option(metavar="SERVICE", help=f"Create a key for CompreFace's clients: {', '.join(SERVICES)}."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create a key for a program. It is printed only once, because pgface stores only its hash.

    Give --scope for the API of pgface, or --compreface for clients of CompreFace.
    """
    if (scope is None) == (compreface is None):
        raise typer.BadParameter("give either --scope or --compreface")
    with Database.open(get_settings()) as database:
        if compreface is not None:
            key, stored = create_compreface_key(database, name, compreface, COMMAND_LINE)
        else:
            scopes = [one.strip() for one in (scope or "").split(",") if one.strip()]
            key, stored = create_key(database, name, scopes, COMMAND_LINE)
    if json:
        print_json({"key": str(key)} | stored.to_json())
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
        ("id", "name", "scopes", "since", "last used", "revoked"),
        lambda key: (
            key.id,
            key.name,
            ", ".join(key.scopes),
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
