"""Measure search beside exact answers, FAISS, hnswlib and the specification's own script: `make bench-search`.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end, or on the server of
PGFACE_DATABASE_URL, in temporary schemas that are dropped.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

import photo_part
from configurations_part import configurations
from crowd_part import never_pausing
from load_part import loading
from pgface import PgfaceError, Settings
from pgface.evaluation.reports.plotting import require_matplotlib
from pgface.operations.bench.facts import PACKAGES, Server, machine, read_server
from pgface.operations.bench.loading import loaded_gallery, server
from pgface.operations.bench.measure import Plan, make_probes, measure
from pgface.operations.bench.peers import missing_peers
from pgface.operations.bench.plot import SUFFIXES, draw
from pgface.operations.bench.report import rows, table
from pgface.operations.bench.results import GalleryResult
from pgface.operations.bench.run import require_memory, write_json
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Row
from specification_part import compare_with_specification

SIZES = (200, 2_000, 20_000, 200_000)
"""People."""
MIN_PEOPLE = 10
MIDDLE = 20_000
"""The size for the specification's script, concurrent clients and the photo, or the nearest smaller one."""
HNSWLIB_UP_TO = 20_000
"""The largest size for hnswlib. For a million faces, its graph takes as long to build as that of FAISS."""
PARTS = ("galleries", "photo", "loading")
_AGREEMENT_PATIENCE_FACTOR = 12
"""The time for agreement is this many times the patience, enough for all probes if a search takes 20 ms."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the run."""

    people: Sequence[int]
    kinds: Sequence[Kind]
    parts: Sequence[str]
    plan: Plan
    full_yardstick: bool
    seed: int
    json: Path | None
    plot: Path | None

    @property
    def middle(self) -> int:
        """The size for parts that are measured at one size only."""
        return max((size for size in self.people if size <= MIDDLE), default=min(self.people))


@dataclass(slots=True)
class Findings:
    """The results so far. Each is shown and written immediately, so that an interrupted run loses nothing."""

    options: Options
    console: Console
    began: float = field(default_factory=time.monotonic)
    results: list[GalleryResult] = field(default_factory=list)
    tables: list[tuple[str, list[Row]]] = field(default_factory=list)
    server: Server | None = None

    def step(self, text: str) -> None:
        """Print the step that starts."""
        self.console.print(f"{time.monotonic() - self.began:6.0f} s  {text}", markup=False)

    def add(self, title: str, found: Iterable[Row]) -> None:
        """Show and keep the rows of a part, if there are any."""
        lines = list(found)
        if not lines:
            return
        self.tables.append((title, lines))
        self.console.print(table(title, lines))
        if self.options.json is not None:
            write_json(self.to_json(), self.options.json)
        if self.options.plot is not None and self.results:
            draw(self.results, self.options.plot)

    def to_json(self) -> dict[str, Any]:
        """Give the figures as JSON-ready values and dataclasses."""
        return {
            "machine": machine(MACHINE_PACKAGES),
            "server": self.server,
            "seed": self.options.seed,
            "seconds": time.monotonic() - self.began,
            "results": self.results,
            "tables": [{"title": title, "rows": lines} for title, lines in self.tables],
        }

    def summary(self) -> None:
        """Show all rows with a target in one table."""
        lines = [
            replace(row, what=f"{title}: {row.what}")
            for title, found in self.tables
            for row in found
            if row.met is not None
        ]
        met = sum(row.met is True for row in lines)
        if lines:
            self.console.print(table(f"Targets: {met} of {len(lines)} met", lines))


MACHINE_PACKAGES = (*PACKAGES, "insightface", "onnxruntime")


def main() -> None:
    options = _options()
    findings = Findings(options, Console(highlight=False, width=None if sys.stdout.isatty() else 200))
    try:
        with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder, _ended_by_sigterm():
            scratch = Path(folder)
            settings = Settings.model_validate({"data_dir": scratch / "data"})
            with server(settings):  # keeps the embedded server running between two parts
                _measure(settings, findings, scratch)
    except PgfaceError as error:
        sys.exit(str(error))
    findings.summary()
    facts = machine(MACHINE_PACKAGES)
    findings.console.print(", ".join(f"{name} {value}" for name, value in facts.items()), soft_wrap=True)
    findings.console.print(f"{time.monotonic() - findings.began:.0f} s in all")


def _measure(settings: Settings, findings: Findings, scratch: Path) -> None:
    options = findings.options
    if "galleries" in options.parts:
        _galleries(settings, findings)
    if "photo" in options.parts:
        found = photo_part.photo_to_names(
            settings,
            options.middle,
            options.kinds,
            scratch,
            options.seed,
            findings.step,
            findings.console.print,
            patience=options.plan.patience,
        )
        findings.add("From a photo to names", found)
    if "loading" in options.parts:
        for people in sorted({options.middle, max(options.people)}):
            embedding_index = people == options.middle or options.full_yardstick
            found = loading(settings, people, scratch, options.seed, findings.step, embedding_index=embedding_index)
            findings.add("From a file of embeddings to an index", found)


def _galleries(settings: Settings, findings: Findings) -> None:
    options = findings.options
    require_memory(max(options.people), options.plan)
    for sentence in missing_peers() if options.plan.peers else []:
        findings.console.print(sentence, markup=False)
    for people, kind in product(sorted(set(options.people)), options.kinds):
        name = f"{people:,} people × {PHOTOS_PER_PERSON} photos, {kind}"

        def step(text: str, name: str = name) -> None:
            findings.step(f"{name}: {text}")

        step("loading")
        with loaded_gallery(settings, SyntheticPeople(kind, options.seed), people) as loaded:
            findings.server = read_server(loaded.database)
            step("exact answers")
            probes = make_probes(loaded, options.plan.probes)
            if people == options.middle:
                found = compare_with_specification(settings, loaded, probes, options.plan, step)
                findings.add(f"{name}, beside the specification's own script", found)
                findings.add(f"{name}, every kind of index", configurations(loaded, probes, options.plan, step))
                findings.add(f"{name}, clients without enrollment", never_pausing(loaded, probes, options.plan, step))
            # Last, because the enrolled newcomers stay.
            result = measure(loaded, _plan(options, people), step, probes=probes)
        findings.results.append(result)
        findings.add(name, rows(result))


def _plan(options: Options, people: int) -> Plan:
    clients = options.plan.clients if people == options.middle else 0
    left_out = ("hnswlib",) if people > HNSWLIB_UP_TO else ()
    return replace(options.plan, clients=clients, peers_left_out=left_out)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn signals into a normal exit, which drops the schemas."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _options() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--people",
        type=_numbers,
        default=SIZES,
        metavar="N,...",
        help=f"sizes of the galleries, {PHOTOS_PER_PERSON} faces each person ({','.join(map(str, SIZES))})",
    )
    parser.add_argument("--kind", choices=[*Kind, "both"], default="both", help="distribution of the people (both)")
    parser.add_argument(
        "--parts",
        type=_parts,
        default=PARTS,
        metavar="PART,...",
        help=f"what to measure ({','.join(PARTS)})",
    )
    parser.add_argument(
        "--probes", type=int, default=2_000, metavar="N", help="mated probes, and as many non-mated ones (2000)"
    )
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="concurrent clients (8)")
    parser.add_argument(
        "--seconds", type=float, default=10, metavar="S", help="seconds of each measurement with clients (10)"
    )
    parser.add_argument("--patience", type=float, default=5, metavar="S", help="seconds of each other measurement (5)")
    parser.add_argument(
        "--no-peers", dest="peers", action="store_false", help="do not compare with NumPy, FAISS and hnswlib"
    )
    parser.add_argument(
        "--full-yardstick",
        action="store_true",
        help="also build an index on all embeddings for the largest size (many minutes for a million)",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the synthetic people (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE after every part")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot agreement against latency: .png, .svg or .pdf")
    given = parser.parse_args()
    for file in (given.json, given.plot):
        if file is not None and not file.parent.is_dir():
            parser.error(f"{file}: there is no such folder")
    if given.plot is not None:
        if given.plot.suffix.lower() not in SUFFIXES:
            parser.error(f"{given.plot}: give a file that ends in {', '.join(SUFFIXES)}")
        try:
            require_matplotlib()
        except PgfaceError as error:
            parser.error(str(error))
    kinds = list(Kind) if given.kind == "both" else [Kind(given.kind)]
    plan = Plan(
        probes=given.probes,
        peers=given.peers,
        clients=given.clients,
        seconds=given.seconds,
        patience=given.patience,
        agreement_patience=_AGREEMENT_PATIENCE_FACTOR * given.patience,
    )
    return Options(given.people, kinds, given.parts, plan, given.full_yardstick, given.seed, given.json, given.plot)


def _numbers(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("give numbers separated by commas, such as 200,2000") from None
    if min(sizes) < MIN_PEOPLE:
        raise argparse.ArgumentTypeError(f"each must be at least {MIN_PEOPLE}")
    return sizes


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if not set(parts) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"give some of {','.join(PARTS)}")
    return parts


if __name__ == "__main__":
    main()
