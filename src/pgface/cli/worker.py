"""`pgface worker`: runs jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from pgface.cli.output import say
from pgface.settings import get_settings

app = typer.Typer()


@app.command()
def worker(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job waits.")] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run the jobs of all galleries, one after another, until Ctrl-C. The log is JSON on stderr.

    A worker uses one core, and lets all other programs of the machine go first. Start several for several jobs at once.
    """
    import logging.config
    import threading

    from pgface.system.priority import give_way

    settings = get_settings()
    if settings.worker_priority == "low":
        give_way()  # before anything starts a thread
    from pgface.database.job_queue import require_procrastinate

    require_procrastinate()  # it comes with the service, as what the next imports need
    from pgface.operations.jobs.worker import run_worker
    from pgface.server.logs import configuration

    logging.config.dictConfig(configuration())
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    run_worker(settings, lambda: say("The worker waits for jobs. Press Ctrl-C to stop."), until_idle=until_idle)


def _end_with_parent() -> None:
    """End as by SIGTERM when the program that started this one ends, because then its pipe closes."""
    import os
    import signal

    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
