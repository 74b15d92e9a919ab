"""`pgface serve` as a process, with its processor time and memory."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from pgface import Settings
from pgface.faces.engines.base import Engine
from service_client import Answers, Load

_MAX_START_SECONDS = 60
_MEBIBYTE = 1024 * 1024


class RunningService:
    """The service and its PostgreSQL."""

    def __init__(self, process: psutil.Process, server: psutil.Process, port: int) -> None:
        self._process, self._server = process, server
        self.port = port

    def processor(self) -> tuple[float, float]:
        """Read the processor seconds of the service's processes and of PostgreSQL."""
        return processor_seconds(self._process), processor_seconds(self._server)

    def memory(self) -> float:
        """Read the memory of the service's processes in MiB. Shared memory is counted once (PSS)."""
        return float(sum(process.memory_full_info().pss for process in _family(self._process)) / _MEBIBYTE)

    def resident(self) -> float:
        """Read the memory in MiB, faster but with shared memory counted repeatedly (RSS)."""
        return float(sum(process.memory_info().rss for process in _family(self._process)) / _MEBIBYTE)


@contextmanager
def running(settings: Settings, log: Path, processes: int = 1, **variables: str) -> Iterator[RunningService]:
    """Start the service on a free loopback port with these variables, and stop it with a signal."""
    port = _free_port()
    command = [sys.executable, "-m", "pgface", "serve", "--port", str(port), "--workers", str(processes)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}
    environment |= {"PGFACE_DATA_DIR": str(settings.data_dir), "PGFACE_SCHEMA": settings.schema_name} | variables
    with log.open("wb") as file, subprocess.Popen(command, env=environment, stdout=file, stderr=file) as process:
        try:
            _wait_until_ready(port, process, log)
            yield RunningService(psutil.Process(process.pid), postmaster(settings), port)
        finally:
            process.terminate()
            process.wait(_MAX_START_SECONDS)


def processes_for(engine: Engine, settings: Settings) -> int:
    """Return the number of the service's processes. dlib needs one for every core, other engines work in threads."""
    return 1 if engine.releases_gil else settings.workers


def answers_to(load: Load) -> Answers:
    """Run clients in another process."""
    command = [sys.executable, str(Path(__file__).with_name("service_client.py"))]
    done = subprocess.run(command, check=True, input=json.dumps(asdict(load)), stdout=subprocess.PIPE, text=True)
    return Answers(**json.loads(done.stdout))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _MAX_START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"The service did not start:\n{log.read_text()}")


def postmaster(settings: Settings) -> psutil.Process:
    """Find the embedded PostgreSQL."""
    file = settings.postgres_dir / "data" / "postmaster.pid"
    return psutil.Process(int(file.read_text().splitlines()[0]))


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def processor_seconds(process: psutil.Process) -> float:
    """Read the processor seconds of a process and its children."""
    total = 0.0
    for one in _family(process):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            # Including children that have ended, such as PostgreSQL's.
            total += times.user + times.system + times.children_user + times.children_system
    return total
