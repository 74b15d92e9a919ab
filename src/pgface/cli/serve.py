"""`pgface serve`: the web service."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.cli.listening import HOST, PORT, CertificateOption, HostOption, KeyOption, PortOption
from pgface.cli.output import say
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def serve(
    host: HostOption = HOST,
    port: PortOption = PORT,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes. dlib needs one for each core, InsightFace one alone.")
    ] = 1,
    certificate: CertificateOption = None,
    key: KeyOption = None,
) -> None:
    """Serve the REST API and the web pages until Ctrl-C. The log is JSON on stderr."""
    # Here, because no other command needs them.
    from pgface.server.run import serve as run
    from pgface.server.sockets import Listening

    def announce(model: str, url: str) -> None:
        say(f"Serving {model} at {url} - Ctrl-C ends it.")

    run(Listening(host, port, certificate, key), workers, get_settings(), announce)
