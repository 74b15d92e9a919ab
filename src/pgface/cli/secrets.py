"""`pgface secrets`: the passwords of a deployment with containers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.output import print_table, say
from pgface.operations.deployment import CONTAINER_ID, Owner, default_owner, make_secrets

app = typer.Typer()


@app.command()
def secrets(
    folder: Annotated[Path, typer.Argument(help="Where; made if need be.")] = Path("secrets"),
    uid: Annotated[
        int | None,
        typer.Option(help="User that the containers run as; you if not given, and 1000 for root.", min=0),
    ] = None,
    gid: Annotated[int | None, typer.Option(help="Group of that user; the same number if not given.", min=0)] = None,
) -> None:
    """Make the passwords that compose.yaml needs, as files that only the containers' user can read."""
    owner = default_owner() if uid is None else Owner(uid, uid)
    owner = owner if gid is None else Owner(owner.uid, gid)
    made = make_secrets(folder, owner)
    say(f"Made in {folder}, for user {owner.uid} alone:")
    print_table(("file", "what"), made.items(), empty="")
    if (owner.uid, owner.gid) != (CONTAINER_ID, CONTAINER_ID):
        say("Let the containers run as that user: add these lines to the file .env beside compose.yaml.")
        say(f"PGFACE_UID={owner.uid}")
        say(f"PGFACE_GID={owner.gid}")
