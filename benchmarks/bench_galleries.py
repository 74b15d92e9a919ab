"""Measure many small galleries in one service: creation, memory, connections, and the cost of changing between them.

Runs `pgface serve` on the embedded PostgreSQL in a temporary folder, which is deleted at the end.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import psycopg

from output import Output, argument_parser
from pgface import Galleries, Gallery, Settings
from pgface.accounts import Client, create_key
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row
from service_process import RunningService, postmaster, processor_seconds, running

PACKAGES = ("pgface", "fastapi", "uvicorn", "psycopg", "psycopg-pool")
_ROUNDS = 200
_BATCH = 50
"""Galleries that are created between two readings of the processor time."""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--galleries", type=int, default=1_000, help="number of galleries (1000)")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        for row in _measure(arguments, Path(folder), output):
            output.add([row])
    output.console.print(table("many galleries", output.rows))
    output.finish()


def _measure(arguments: argparse.Namespace, scratch: Path, output: Output) -> Iterator[Row]:
    settings = Settings.model_validate({"database_url": None, "data_dir": scratch / "data"})
    with EmbeddedPostgres(settings.postgres_dir), Gallery.create(settings) as default:
        key, _ = create_key(default.database, "benchmark", ["admin"], Client(), all_galleries=True)
        before = processor_seconds(postmaster(settings))
        with running(settings, scratch / "alone.log") as service:
            start_alone = sum(service.processor()) - before
            _ask(service, key, "/api/v1/users")
            alone = service.memory()
        output.console.print(f"creating {arguments.galleries:,} galleries ...")
        yield from _creation(default, settings, arguments.galleries)
        before = processor_seconds(postmaster(settings))
        with running(settings, scratch / "service.log") as service:
            yield Row(
                f"processor time of a start, {arguments.galleries:,} galleries",
                f"{sum(service.processor()) - before:.2f} s",
                f"without galleries {start_alone:.2f} s",
            )
            started = service.memory()
            paths = [f"/api/v1/galleries/{_name(number)}/users" for number in range(arguments.galleries)]
            first = _processor_each(service, key, paths)
            yield Row(
                f"memory (PSS) of the service, {arguments.galleries:,} galleries",
                f"at the start {started:.0f} MiB, after a request to each {service.memory():.0f} MiB",
                f"without galleries {alone:.0f} MiB",
            )
            number, memory = _connections(default)
            yield Row("connections to PostgreSQL after it", f"{number}", "PGFACE_POOL_SIZE is 4")
            yield Row("their own memory (USS), together", f"{memory:.0f} MiB")
            again = _processor_each(service, key, paths)
            yield Row(
                "processor time of the first request to each", f"{first:.1f} ms", f"of the second: {again:.1f} ms"
            )
            yield _changing(service, key, paths)


def _processor_each(service: RunningService, key: str, paths: Iterable[str]) -> float:
    """Ask for each path once, and return the milliseconds of processor time for one."""
    asked = list(paths)
    before = sum(service.processor())
    for path in asked:
        _ask(service, key, path)
    return (sum(service.processor()) - before) / len(asked) * 1e3


def _name(number: int) -> str:
    return f"gallery-{number}"


def _creation(default: Gallery, settings: Settings, number: int) -> Iterator[Row]:
    """Create galleries in one session. The first and the last of them show whether more galleries make it slower."""
    server, process, size = postmaster(settings), psutil.Process(), _megabytes(default)
    before = processor_seconds(server) + processor_seconds(process)
    times = []
    with Galleries.open(settings.model_copy(update={"pool_size": 1})) as galleries:
        with galleries.default.database.transaction() as connection:
            session = psutil.Process(connection.info.backend_pid)
        for each in range(number):
            if each % _BATCH == 0:
                times.append(processor_seconds(session) + processor_seconds(process))
            galleries.create(_name(each))
        times.append(processor_seconds(session) + processor_seconds(process))
    spent = processor_seconds(server) + processor_seconds(process) - before
    batches = [(after - before) / _BATCH * 1e3 for before, after in itertools.pairwise(times)]
    yield Row(
        "processor time to create a gallery, without PostgreSQL's maintenance",
        f"first {_BATCH}: {batches[0]:.0f} ms, last {_BATCH}: {batches[-1]:.0f} ms",
        f"median {statistics.median(batches):.0f} ms, ratio {batches[-1] / batches[0]:.2f}",
    )
    yield Row("the same with it", f"{spent / number * 1e3:.0f} ms")
    yield Row("disk of an empty gallery", f"{(_megabytes(default) - size) / number:.2f} MiB")


def _changing(service: RunningService, key: str, paths: list[str]) -> Row:
    """Compare requests to one gallery with requests to many in turn."""
    one = _processor_each(service, key, paths[:1] * _ROUNDS)
    another = _processor_each(service, key, (paths[number % len(paths)] for number in range(_ROUNDS)))
    return Row(
        "processor time to list the users of another gallery each time",
        f"{another:.1f} ms",
        f"of one gallery: {one:.1f} ms, ratio {another / one:.2f}",
    )


def _ask(service: RunningService, key: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, (path, response.status, body)
    connection.close()


def _connections(default: Gallery) -> tuple[int, float]:
    """Count the connections of pgface, and their memory that is not shared, in MiB."""
    query = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'pgface' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(default.url) as connection:
        found = [psutil.Process(pid) for (pid,) in connection.execute(query).fetchall()]
    return len(found), sum(process.memory_full_info().uss for process in found) / 1024 / 1024


def _megabytes(default: Gallery) -> float:
    with psycopg.connect(default.url) as connection:
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
    return float(size) / 1024 / 1024


if __name__ == "__main__":
    main()
