"""Measure the web service beside the bare engine, with clients over HTTP: a part of `make bench`.

Runs `pgface serve` on the embedded PostgreSQL in a temporary folder, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from pgface import Gallery, Settings
from pgface.accounts import Client, create_key
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.faces.engines import load_engine
from pgface.operations.bench.facts import machine
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row
from samples import find_samples, insightface_weights
from service_part import Measured, fill_up, health, memory, people_of, throughput
from service_process import running

LARGEST = "40000000"
"""The size of photos of 40 megapixels, for which memory is measured."""
PACKAGES = ("pgface", "fastapi", "uvicorn", "uvloop", "insightface", "onnxruntime", "dlib-bin", "psycopg")
GALLERIES = 1_000, 10_000
"""The sizes of the galleries in faces."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds of every number of clients and the plain engine (7)"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each side in a round (4)")
    parser.add_argument(
        "--requests", type=int, default=5_000, help="requests for which memory is measured, 0 for none (5000)"
    )
    parser.add_argument(
        "--faces", type=int, default=GALLERIES[1], help=f"faces of the larger gallery, 0 for none ({GALLERIES[1]})"
    )
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    started = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        for part, found in _run(arguments, Path(folder), console):
            console.print(table(f"pgface serve, {part}: medians; ratio: over n rounds (quartiles), fastest", found))
            rows += found
            if arguments.json is not None:
                figures = {"machine": machine(PACKAGES), "rows": [asdict(row) for row in rows]}
                arguments.json.write_text(json.dumps(figures, indent=2))
    console.print(", ".join(f"{name} {value}" for name, value in machine(PACKAGES).items()), soft_wrap=True)
    console.print(f"{time.monotonic() - started:.0f} s in all")


def _run(arguments: argparse.Namespace, scratch: Path, console: Console) -> Iterator[tuple[str, list[Row]]]:
    """Measure one part after the other."""
    settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
    samples = find_samples(scratch)
    if samples is None:
        console.print("skipped: there is no photo on this machine to measure the service with")
        return
    model = str(insightface_weights() or "sface")
    load = partial(
        load_engine,
        model,
        models_dir=settings.models_dir,
        detector_size=settings.detector_size,
        execution_provider=settings.execution_provider,
    )
    engine = load()
    console.print(f"{engine.identity.name}; photos: {samples.description}")
    with EmbeddedPostgres(settings.postgres_dir), Gallery.create(settings, model=model) as gallery:
        people = people_of(gallery, samples)
        fill_up(gallery, GALLERIES[0])
        key, _ = create_key(gallery.database, "benchmark", ["identify", "enroll"], Client())
        # dlib needs a process for every core. The other engines work in threads.
        processes = 1 if engine.releases_gil else settings.workers
        with running(settings, scratch / "service.log", processes, PGFACE_MAX_UPLOAD_PIXELS=LARGEST) as service:
            measured = Measured(service, key, samples.files, people, engine, load, settings.workers)
            console.print("measuring throughput ...")
            yield "side by side", list(throughput(measured, arguments.rounds, arguments.seconds))
            if arguments.requests:
                console.print(f"measuring its memory over {arguments.requests:,} requests ...")
                yield "memory", list(memory(measured, arguments.requests, scratch))
            for size in [size for size in (GALLERIES[0], arguments.faces) if size]:
                console.print(f"measuring health checks with {size:,} faces ...")
                fill_up(gallery, size)
                yield f"health checks, {size:,} faces", [health(measured, gallery, arguments.seconds * 2)]


if __name__ == "__main__":
    main()
