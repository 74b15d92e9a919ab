"""The web service as users run it: `pgface serve` in a process of its own, ended by its id."""

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
"""To begin, and to end."""


@dataclass(frozen=True, slots=True)
class Served:
    """A service that runs."""

    url: str
    """Without a slash at its end."""
    said: str
    process: subprocess.Popen[str]
    log: Path

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; gives its exit code."""
        self.process.send_signal(by)
        return self.process.wait(SECONDS)


@contextmanager
def serving(environment: dict[str, str], folder: Path, *options: object) -> Iterator[Served]:
    """Run the service at a port that is free, with these variables and its log in a folder."""
    command = [sys.executable, "-m", "pgface", "serve", "--port", "0", *map(str, options)]
    with serving_by(command, without_settings() | environment, folder) as service:
        yield service


@contextmanager
def serving_by(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Served]:
    """Run the service by a command as somebody gives it, in exactly this environment."""
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
            said = process.stdout.readline()
            found = re.search(r" at (https?://\S+)/\. Press Ctrl-C to stop\.$", said)
            assert found, said + log.read_text()
            yield Served(found[1], said, process, log)
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def ended(command: str, environment: Mapping[str, str]) -> str:
    """Run a line as a shell does; gives what it prints."""
    done = subprocess.run(
        ["/bin/bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
