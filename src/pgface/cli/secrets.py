"""`pgface secrets`: the passwords for a deployment with containers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.output import print_table, say
from pgface.operations.deployment import CONTAINER_ID, Owner, default_owner, make_secrets

app = typer.Typer()


@app.command()
def secrets(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder for the files. It is created if missing.")
    ] = Path("secrets"),
    uid: Annotated[
        int | None,
        typer.Option(
            metavar="UID", help="User id that the containers run as. Yours by default, or 1000 for root.", min=0
        ),
    ] = None,
    gid: Annotated[
        int | None, typer.Option(metavar="GID", help="Group id of that user. The same number by default.", min=0)
    ] = None,
) -> None:
    """Create the passwords that compose.yaml needs, as files that only the containers' user can read."""
    owner = default_owner() if uid is None else Owner(uid, uid)
    owner = owner if gid is None else Owner(owner.uid, gid)
    made = make_secrets(folder, owner)
    say(f"Created in {folder}, readable only by user {owner.uid}:")
    print_table(("file", "what"), made.items(), empty="")
    if (owner.uid, owner.gid) != (CONTAINER_ID, CONTAINER_ID):
        say("To run the containers as that user, add these lines to the file .env beside compose.yaml.")
        say(f"PGFACE_UID={owner.uid}")
        say(f"PGFACE_GID={owner.gid}")
