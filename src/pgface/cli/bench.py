"""`pgface bench`: search on this server, and the engines on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pgface.cli.options import file_ending_in
from pgface.cli.output import console, errors, note, print_table, progress_bar, require_writable, say, with_options
from pgface.evaluation.reports.plotting import require_matplotlib
from pgface.faces.drawn_face import drawn_face
from pgface.faces.photo import PhotoLimits, open_photo
from pgface.operations.bench.advice import advice
from pgface.operations.bench.engine import COLUMNS, EngineResult, cells, measure_engines, tasks
from pgface.operations.bench.measure import Plan
from pgface.operations.bench.peers import missing_peers
from pgface.operations.bench.plot import SUFFIXES, draw
from pgface.operations.bench.report import rows, table
from pgface.operations.bench.results import GalleryResult
from pgface.operations.bench.run import run, write_json
from pgface.operations.bench.synthetic import Kind
from pgface.settings import get_settings
from pgface.system.signals import handle_termination
from pgface.text import counted, runs_on

app = typer.Typer()

_MIN_PEOPLE, _MAX_PEOPLE = 10, 10_000_000
_LOADING_SECONDS = 4.0
"""The time in which a process starts and loads a model."""


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter("give numbers separated by commas, such as 200,2000,20000") from None
    if not all(_MIN_PEOPLE <= size <= _MAX_PEOPLE for size in sizes):
        raise typer.BadParameter(f"each number must be from {_MIN_PEOPLE} to {_MAX_PEOPLE}")
    return sizes


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    people: Annotated[
        str, typer.Option(metavar="N,...", help="Sizes of the galleries, in people with five photos each.")
    ] = "200,2000,20000",
    kind: Annotated[
        Literal["isotropic", "clustered", "both"],
        typer.Option(help="How people are spread: in all dimensions, in a few as real faces are, or both."),
    ] = "clustered",
    probes: Annotated[
        int,
        typer.Option(
            min=50, max=100_000, metavar="N", help="Mated probes for each gallery, and as many non-mated ones."
        ),
    ] = 1_000,
    clients: Annotated[
        int,
        typer.Option(
            min=0, max=64, metavar="N", help="Concurrent clients that search the largest gallery. 0 for none."
        ),
    ] = 8,
    seconds: Annotated[
        float,
        typer.Option(min=1, max=600, metavar="SECONDS", help="Duration of each measurement with concurrent clients."),
    ] = 5.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file as JSON.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=file_ending_in(SUFFIXES),
            help="Plot agreement against latency: .png, .svg or .pdf.",
        ),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Compare with NumPy, and with FAISS and hnswlib if installed.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed for the synthetic people.")] = 1,
) -> None:
    """Measure search on this server with synthetic galleries, and advise.

    The benchmark runs in a temporary schema and does not touch your gallery.
    """
    if context.invoked_subcommand is not None:
        return
    sizes = _sizes(people)
    if plot is not None:
        require_matplotlib()
    for file in (json_file, plot):
        if file is not None:
            require_writable(file)
    if peers:
        for sentence in missing_peers():
            say(sentence)
    plan = Plan(probes=probes, peers=peers, clients=clients, seconds=seconds)
    with handle_termination(_exit), _progress() as (begin, step):

        def show(result: GalleryResult) -> None:
            console.print(table(result.name, rows(result)))

        found = run(
            get_settings(),
            sizes,
            list(Kind) if kind == "both" else [Kind(kind)],
            plan,
            seed=seed,
            on_begin=begin,
            on_step=step,
            on_result=show,
        )
    for sentence in advice(found):
        say(f"• {with_options(sentence)}")
    say(", ".join(f"{name} {value}" for name, value in found.machine.items()))
    if json_file is not None:
        write_json(found, json_file)
        say(f"The figures: {json_file}")
    if plot is not None:
        draw(found.results, plot)
        say(f"The plot: {plot}")


@app.command("engine")
def bench_engine(
    photo: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Photo with a face. A drawn portrait by default.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=600, metavar="SECONDS", help="Duration of each measurement.")
    ] = 2.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file as JSON.")
    ] = None,
) -> None:
    """Compare the installed models, and the runtimes that are there, on this machine.

    Each photo is searched and its faces are embedded. Decoding and the gallery are not part of it.
    """
    if json_file is not None:
        require_writable(json_file)
    settings = get_settings()
    if photo is None:
        pixels = drawn_face()
    else:
        with open_photo(photo, PhotoLimits.from_settings(settings)) as opened:
            pixels = opened.pixels.copy()
    planned = tasks(settings, pixels, seconds)
    note(f"This takes about {math.ceil(len(planned) * (3 * seconds + _LOADING_SECONDS))} seconds.")

    def show(result: EngineResult) -> None:
        note(f"{result.model}, {runs_on(result.runtimes)}: done")

    with handle_termination(_exit):
        found = measure_engines(planned, on_result=show)
    print_table(COLUMNS, [cells(result) for result in found.results], empty="")
    say(f"A photo of {found.width} × {found.height} pixels, detector {found.detector_size}.")
    say(", ".join(f"{name} {value}" for name, value in found.machine.items()))
    if json_file is not None:
        write_json(found, json_file)
        say(f"The figures: {json_file}")


@contextmanager
def _progress() -> Iterator[tuple[Callable[[float], None], Callable[[str, float], None]]]:
    """Show the expected time and the progress: as a bar on a terminal, as a line for each step elsewhere."""
    columns = SpinnerColumn(), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=1.0)

        def begin(seconds: float) -> None:
            how_long = counted(math.ceil(seconds / 60), "minute")
            note(f"This takes about {how_long} on two cores. It searches synthetic galleries, not yours.")

        def step(name: str, share: float) -> None:
            bar.update(task, description=name, completed=share)
            if not errors.is_terminal:
                note(f"{share:4.0%}  {name}")

        yield begin, step


def _exit(number: int, _: object) -> None:
    """Turn a signal into a normal exit, which deletes the temporary schema."""
    raise SystemExit(128 + number)
