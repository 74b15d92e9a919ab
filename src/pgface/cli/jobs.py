"""`pgface jobs`: the jobs of a gallery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from pgface.cli.options import JsonOption, LimitOption
from pgface.cli.output import note, print_facts, print_json, print_result, print_results, print_table, when
from pgface.errors import UnknownJobError

if TYPE_CHECKING:
    from pgface.jobs.jobs import Job, Jobs

app = typer.Typer()

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.")]


@app.command("list")
def list_jobs(limit: LimitOption = 100, json: JsonOption = False) -> None:
    """List the jobs, the newest first."""
    with _opened() as jobs:
        found = jobs.newest(limit=limit)
    print_results(
        found,
        json,
        ("id", "kind", "state", "done", "added by", "since"),
        lambda job: (str(job.id), job.kind, job.state, _progress(job), job.created_by, when(job.created_at)),
        empty="There are no jobs.",
    )


@app.command()
def show(
    job_id: IdArgument,
    results: Annotated[
        int, typer.Option(min=0, max=10_000, metavar="N", help="Show at most so many results of photos.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Show a job, and with --results what happened to its photos."""
    number = _id(job_id)
    with _opened() as jobs:
        job = jobs.find(number)
        found = jobs.results(number, limit=results) if results else []
    if json:
        print_json(job.to_json() | ({"results": [one.to_json() for one in found]} if results else {}))
        return
    print_facts(_facts(job))
    if results:
        rows = ((one.photo or "deleted", one.outcome or "waiting", one.user_id, one.reason) for one in found)
        print_table(("photo", "result", "user", "reason"), rows, empty="This job has no photos.")
    elif job.kind == "enroll":
        note("Show the result of each photo with --results N.")


@app.command()
def cancel(job_id: IdArgument, json: JsonOption = False) -> None:
    """Cancel a job. Photos that it has enrolled stay, and photos that wait are deleted."""
    from pgface.accounts import COMMAND_LINE

    with _opened() as jobs:
        job = jobs.cancel(_id(job_id), COMMAND_LINE)
    print_result(job.to_json(), f"The job was cancelled after {_progress(job)}.", json)


def _opened() -> Jobs:
    # The imports are here because they load NumPy and more, which `--help` does not need.
    from pgface.gallery import Gallery
    from pgface.jobs.jobs import Jobs

    return Jobs.of(Gallery.open())


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UnknownJobError from None


def _progress(job: Job) -> str:
    return f"{job.done:,} of {job.total:,}" if job.total else "nothing yet" if job.state == "queued" else "-"


def _facts(job: Job) -> Iterator[tuple[str, object]]:
    yield "job", str(job.id)
    yield "kind", job.kind
    yield "state", job.state
    yield "done", _progress(job)
    if job.kind == "enroll":
        yield (
            "photos",
            (f"{job.enrolled:,} enrolled, {job.already_enrolled:,} already enrolled, {job.refused:,} refused"),
        )
    yield "added by", job.created_by
    yield "added", when(job.created_at)
    yield "started", when(job.started_at)
    yield "ended", when(job.finished_at)
    yield "error", job.reason
