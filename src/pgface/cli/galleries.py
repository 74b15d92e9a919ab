"""`pgface galleries`: create, list, rename and delete named galleries."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.accounts import COMMAND_LINE, use_cases
from pgface.cli.options import JsonOption, YesOption
from pgface.cli.output import print_json, print_results, say, when
from pgface.galleries import Galleries
from pgface.settings import get_settings

app = typer.Typer()

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the gallery.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 255 letters, digits and `_.-`.")],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model of the gallery. The default gallery's by default.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="PostgreSQL URL of another server. Anyone who can read the registry sees it."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create a gallery in a schema of its own, in this database or on another server."""
    with Galleries.open(get_settings()) as galleries:
        info = use_cases.create_gallery(galleries, COMMAND_LINE, name, model=model, database_url=server)
    if json:
        print_json(info.to_json())
    else:
        say(f"The gallery {info.name} is in the schema {info.schema_name}. Its model is {info.model_name}.")


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the galleries with their models and sizes. The default gallery is not in the list."""
    with Galleries.open(get_settings()) as galleries:
        found = galleries.list()
    print_results(
        found,
        json,
        ("name", "model", "people", "faces", "schema", "server", "since"),
        lambda one: (
            one.name,
            one.model_name,
            one.people,
            one.faces,
            one.schema_name,
            one.server,
            when(one.created_at),
        ),
        empty="There are no galleries except the default one.",
    )


@app.command()
def show(name: NameArgument, json: JsonOption = False) -> None:
    """Show a gallery, also if it is on another server."""
    with Galleries.open(get_settings()) as galleries:
        info = galleries.describe(name)
    if json:
        print_json(info.to_json())
    else:
        say(
            f"{info.name}: {info.people} people, {info.faces} faces, model {info.model_name}, "
            f"schema {info.schema_name} of {info.server or 'this database'}, since {when(info.created_at)}"
        )


@app.command()
def rename(
    name: NameArgument, new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name.")]
) -> None:
    """Rename a gallery. Its ids and keys stay."""
    with Galleries.open(get_settings()) as galleries:
        use_cases.rename_gallery(galleries, COMMAND_LINE, name, new_name)
    say(f"The gallery {name} is now {new_name}.")


@app.command()
def delete(name: NameArgument, yes: YesOption = False) -> None:
    """Delete a gallery with its people, photos, keys and sessions. You cannot undo this."""
    with Galleries.open(get_settings()) as galleries:
        info = galleries.describe(name)
        if not yes:
            question = f"Permanently delete the gallery {name} with {info.people} people and {info.faces} faces?"
            typer.confirm(question, abort=True)
        use_cases.delete_gallery(galleries, COMMAND_LINE, name)
    say(f"The gallery {name} is deleted.")
