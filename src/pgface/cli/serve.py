"""`pgface serve`: the web service."""

from __future__ import annotations

import os
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
        int,
        typer.Option(
            min=1, max=256, metavar="N", help="Number of processes. For dlib, one per core. For other models, one."
        ),
    ] = 1,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    rekognition: Annotated[
        bool, typer.Option("--rekognition", help="Answer also the face operations of Amazon Rekognition, at `/`.")
    ] = False,
) -> None:
    """Serve the REST API and the web pages until Ctrl-C. The log is JSON on stderr."""
    from pgface.server.run import serve as run
    from pgface.server.sockets import Listening

    def announce(model: str, url: str) -> None:
        say(f"Serving {model} at {url}. Press Ctrl-C to stop.")

    if rekognition:
        os.environ["PGFACE_REKOGNITION"] = "true"  # worker processes read it, too
        get_settings.cache_clear()
    run(Listening(host, port, certificate, key), workers, get_settings(), announce)
