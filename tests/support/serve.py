"""Runs `pgface serve` in its own process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.commands import without_settings
from support.forked_commands import ForkedProcess

SECONDS = 60
"""The time limit to start, and to end."""

Process = subprocess.Popen[str] | ForkedProcess


@dataclass(frozen=True, slots=True)
class Served:
    """A running service."""

    url: str
    """Without a slash at its end."""
    announcement: str
    """The line that it printed at its start."""
    process: Process
    log: Path

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(by)
        return self.process.wait(SECONDS)


@contextmanager
def serving(environment: dict[str, str], folder: Path, *options: object) -> Iterator[Served]:
    """Run the service at a free port, with these variables and its log in a folder.

    Its process is forked from one that has imported most of pgface, which saves half of the time to start.
    """
    log = folder / "service.log"
    read_end, write_end = os.pipe()
    with open(read_end, encoding="utf-8") as stdout, Path(os.devnull).open() as stdin, log.open("w") as stderr:
        process = ForkedProcess(
            ["serve", "--port", "0", *map(str, options)],
            env=without_settings() | environment,
            stdin=stdin.fileno(),
            stdout=write_end,
            stderr=stderr.fileno(),
        )
        os.close(write_end)
        with _announced(process, stdout, log) as service:
            yield service


@contextmanager
def serving_anew(environment: dict[str, str], folder: Path, *options: object) -> Iterator[Served]:
    """Run the service like `serving`, in a process that imports everything itself."""
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
        assert process.stdout
        with _announced(process, process.stdout, log) as service:
            yield service


@contextmanager
def _announced(process: Process, stdout: IO[str], log: Path) -> Iterator[Served]:
    """Wait until the service accepts requests. End it when the block ends."""
    try:
        announcement = stdout.readline()
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
