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
        int,
        typer.Option(
            min=1, max=256, metavar="N", help="Number of processes. For dlib, one per core. For other models, one."
        ),
    ] = 1,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    compreface: Annotated[bool, typer.Option("--compreface", help="Also answer CompreFace's clients.")] = False,
    rekognition: Annotated[
        bool, typer.Option("--rekognition", help="Answer also the face operations of Amazon Rekognition, at `/`.")
    ] = False,
    jobs: Annotated[bool, typer.Option("--jobs", help="Also start a worker that runs jobs.")] = False,
) -> None:
    """Serve the REST API and the web pages until Ctrl-C. The log is JSON on stderr."""
    from pgface.server.run import serve as run
    from pgface.server.sockets import Listening

    def announce(model: str, url: str) -> None:
        say(f"Serving {model} at {url}. Press Ctrl-C to stop.")

    doors = {"compreface": compreface, "rekognition": rekognition, "jobs": jobs}
    settings = get_settings().model_copy(update={name: True for name, wanted in doors.items() if wanted})
    run(Listening(host, port, certificate, key), workers, settings, announce)
