"""`pgface roles`: PostgreSQL roles with fewer rights than the owner."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.cli.output import say
from pgface.database.pool import Database, connected
from pgface.database.roles import READER, SERVICE, grant_reader, grant_service, require_own
from pgface.settings import get_settings

app = typer.Typer()


@app.command("create")
def create_roles(
    service: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="Role of the service, which enrolls, identifies and logs people in. "
            f"{SERVICE} by default, unless another gallery uses it.",
        ),
    ] = None,
    reader: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE", help=f"Role that may only search. {READER} by default, unless another gallery uses it."
        ),
    ] = None,
) -> None:
    """Create both roles, or update their rights after an upgrade. They have no passwords until you set them."""
    settings = get_settings()
    with Database.open(settings), connected(settings) as connection:
        for given, name in ((service, SERVICE), (reader, READER)):
            if given is None:  # a role that you name may be shared by several galleries
                require_own(connection, settings.schema_name, name)
        service, reader = service or SERVICE, reader or READER
        grant_service(connection, settings.schema_name, service)
        grant_reader(connection, settings.schema_name, reader)
    say(f"{service} may do what a service does, and {reader} may search. Set their passwords with \\password in psql.")
