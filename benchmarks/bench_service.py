"""Measure the web service's enrollments, memory and health checks, with clients over HTTP: a part of `make bench`.

Runs `pgface serve` on the embedded PostgreSQL in a temporary folder, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.accounts import Client, create_key
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row
from samples import find_samples, insightface_weights
from service_part import Measured, enrolling, fill_up, health, memory, people_of
from service_process import processes_for, running

LARGEST = "40000000"
"""The size of photos of 40 megapixels, for which memory is measured."""
PACKAGES = ("pgface", "fastapi", "uvicorn", "uvloop", "insightface", "onnxruntime", "dlib-bin", "psycopg")
GALLERIES = 1_000, 10_000
"""The sizes of the galleries in faces."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of health checks in each gallery (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of enrollments (3)")
    parser.add_argument(
        "--requests", type=int, default=5_000, help="requests for which memory is measured, 0 for none (5000)"
    )
    parser.add_argument(
        "--faces", type=int, default=GALLERIES[1], help=f"faces of the larger gallery, 0 for none ({GALLERIES[1]})"
    )
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        for part, found in _run(arguments, Path(folder), output):
            output.console.print(table(f"pgface serve, {part}", found))
            output.add(found)
    output.finish()


def _run(arguments: argparse.Namespace, scratch: Path, output: Output) -> Iterator[tuple[str, list[Row]]]:
    """Measure one part after the other."""
    settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
    samples = find_samples(scratch)
    if samples is None:
        output.skip("there is no photo on this machine to measure the service with")
        return
    model = str(insightface_weights() or settings.model)
    with EmbeddedPostgres(settings.postgres_dir), Gallery.create(settings, model=model) as gallery:
        output.console.print(f"{gallery.engine.identity.name}; photos: {samples.description}")
        people = people_of(gallery, samples)
        fill_up(gallery, GALLERIES[0])
        key, _ = create_key(gallery.database, "benchmark", ["identify", "enroll"], Client())
        processes = processes_for(gallery.engine, settings)
        with running(settings, scratch / "service.log", processes, PGFACE_MAX_UPLOAD_PIXELS=LARGEST) as service:
            measured = Measured(service, key, samples.files, people)
            if gallery.engine.releases_gil:
                output.console.print("measuring enrollments ...")
                rows = enrolling(measured, gallery.engine, settings.workers, arguments.rounds, arguments.seconds / 2)
                yield "enrollments", list(rows)
            if arguments.requests:
                output.console.print(f"measuring its memory over {arguments.requests:,} requests ...")
                yield "memory", list(memory(measured, arguments.requests, scratch))
            for size in [size for size in (GALLERIES[0], arguments.faces) if size]:
                output.console.print(f"measuring health checks with {size:,} faces ...")
                fill_up(gallery, size)
                yield f"health checks, {size:,} faces", [health(measured, gallery, arguments.seconds)]


if __name__ == "__main__":
    main()
