"""`pgface healthcheck`: check the web service."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.cli.listening import HOST, PORT, CertificateOption, HostOption, PortOption
from pgface.cli.output import say
from pgface.server.healthcheck import check_health
from pgface.server.sockets import Listening

app = typer.Typer()


@app.command()
def healthcheck(
    host: HostOption = HOST,
    port: PortOption = PORT,
    certificate: CertificateOption = None,
    alive: Annotated[
        bool, typer.Option("--alive", help="Only check that the process answers, not that it is ready for work.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=600, metavar="SECONDS", help="How long to wait for an answer.")
    ] = 5.0,
) -> None:
    """Check that the web service on this machine works. Exits with 0 if it does, 1 if not.

    Use the same options as for `pgface serve`, or set the same variables for both.
    """
    url = check_health(Listening(host, port, certificate), timeout, ready=not alive)
    say(f"{url} says that the service {'answers' if alive else 'is ready'}.")
