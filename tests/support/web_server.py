"""Starts a web application in its own process, on a port of the loopback interface."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pgface.settings import Settings


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """Return the environment of a process that uses the gallery of a test."""
    assert settings.database_url
    own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return own | {
        "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PGFACE_SCHEMA": settings.schema_name,
        "PGFACE_DATA_DIR": str(settings.data_dir),
        **more,
    }


@contextmanager
def served(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run a server until the block ends. Yield its URL on `localhost`, where browsers allow cameras.

    Args:
        command: the command, which makes the server listen on port 0 (a free port) and print the port.
        variables: the environment of the server.
        log: the file for the server's output. A traceback in it fails the test.

    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=dict(variables), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield f"http://localhost:{_port(process, log)}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert "Traceback" not in log.read_text(encoding="utf-8"), log.read_text(encoding="utf-8")


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"(?:running on|at) http://[^:/]+:(\d+)", log.read_text(encoding="utf-8"), re.IGNORECASE):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"the server does not say where it listens:\n{log.read_text(encoding='utf-8')}")
