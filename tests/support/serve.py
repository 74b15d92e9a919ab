"""Runs `pgface serve` in its own process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.commands import without_settings

SECONDS = 60
"""The time limit to start, and to end."""


@dataclass(frozen=True, slots=True)
class Served:
    """A running service."""

    url: str
    """Without a slash at its end."""
    announcement: str
    """The line that it printed at its start."""
    process: subprocess.Popen[str]
    log: Path

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(by)
        return self.process.wait(SECONDS)


@contextmanager
def serving(environment: dict[str, str], folder: Path, *options: object) -> Iterator[Served]:
    """Run the service at a free port, with these variables and its log in a folder."""
    command = [sys.executable, "-m", "pgface", "serve", "--port", "0", *map(str, options)]
    with serving_by(command, without_settings() | environment, folder) as service:
        yield service


@contextmanager
def serving_by(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Served]:
    """Run the service with a command in exactly this environment."""
    log = folder / "service.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            announcement = process.stdout.readline()
            found = re.search(r" at (https?://\S+)/\. Press Ctrl-C to stop\.$", announcement)
            assert found, announcement + log.read_text()
            yield Served(found[1], announcement, process, log)
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def output_of(command: str, environment: Mapping[str, str]) -> str:
    """Run a line in a shell, and return its output."""
    done = subprocess.run(
        ["/bin/bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
