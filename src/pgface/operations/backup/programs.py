"""Find a suitable pg_dump and pg_restore, and run them without a password in their arguments."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg import pq

from pgface.database.embedded.cluster import FOLDERS, binaries
from pgface.errors import EmbeddedPostgresError, PostgresProgramError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\.\d+)?")
_FORMAT_VARIABLES = ("PGOPTIONS", "PGTZ", "PGDATESTYLE", "PGGEQO")
INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
"""The folders into which packages install PostgreSQL's programs, one for each version."""


@dataclass(frozen=True, slots=True)
class Program:
    """A client program of PostgreSQL."""

    path: Path
    version: str
    """For example 18.4."""

    @property
    def major(self) -> int:
        """The major version, which decides which servers and dumps the program can read."""
        return int(self.version.partition(".")[0])


def find_pg_dump(server_version: int, *, embedded: bool) -> Program:
    """Find the pg_dump of the server's version, or else the oldest newer one.

    pg_dump reads servers up to its own version. A newer pg_dump than necessary would also need a newer pg_restore
    on the machine that restores.

    Args:
        server_version: the server's major version.
        embedded: whether the embedded PostgreSQL's programs come first.

    Raises:
        PostgresProgramError: there is no such program. The message says what to install.

    """
    found = _programs("pg_dump", embedded=embedded)
    fitting = [program for program in found if program.major >= server_version]
    if fitting:
        return min(fitting, key=lambda program: program.major)
    there = f"found: {', '.join(sorted({program.version for program in found}))}" if found else "there is none"
    raise PostgresProgramError(
        f"pg_dump of PostgreSQL {server_version} or newer is needed ({there}). Install PostgreSQL's client programs "
        f"(Debian: postgresql-client-{server_version}), or add their folder to PATH."
    )


def find_pg_restore(*, embedded: bool) -> Program:
    """Find the newest pg_restore, which reads the dumps of all earlier versions.

    Args:
        embedded: whether the embedded PostgreSQL's programs come first.

    Raises:
        PostgresProgramError: there is no such program. The message says what to install.

    """
    if found := _programs("pg_restore", embedded=embedded):
        return max(found, key=lambda program: program.major)
    raise PostgresProgramError(
        "pg_restore is needed, but there is none. Install PostgreSQL's client programs (Debian: postgresql-client), "
        "or add their folder to PATH."
    )


def client_environment(url: str) -> dict[str, str]:
    """Build the environment for a program that connects to the URL.

    All parts of the URL become libpq's variables, including the password. Every user of the machine can see the
    arguments of a process, but only its own user and root can see its environment. Those two can read the
    environment of this process anyway. A password file would be another copy, and a killed process would leave it.

    Raises:
        PostgresProgramError: the URL has a secret for which libpq has no variable.

    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}
    for name in _FORMAT_VARIABLES:  # pg_dump itself sets the formats that a dump needs
        environment.pop(name, None)
    environment |= {"LC_ALL": "C", "PGAPPNAME": "pgface", "PGCLIENTENCODING": "UTF8"}
    for option in pq.Conninfo.parse(url.encode()):
        if option.val is None:
            continue
        if option.envvar is None:
            if option.dispchar == b"*":
                raise PostgresProgramError(
                    f"{option.keyword.decode()} in PGFACE_DATABASE_URL cannot be passed on to pg_dump. "
                    "Use a key without a passphrase, or ~/.pg_service.conf."
                )
            continue  # such as keepalive settings
        environment[option.envvar.decode()] = option.val.decode()
    return environment


@contextmanager
def running(
    program: Program, *arguments: str, environment: dict[str, str], stdin: int = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a program with its output in a pipe. Gives the process, and the file with its messages."""
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(
            [program.path, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=environment,
            bufsize=1024 * 1024,
        ) as process,
    ):
        try:
            yield process, messages
        finally:
            process.kill()


def reason(messages: IO[bytes]) -> str:
    """Return the first error message of a program."""
    messages.seek(0)
    lines = [line.strip() for line in messages.read(100_000).decode(errors="replace").splitlines() if line.strip()]
    first = next((line for line in lines if "error: " in line), lines[0] if lines else "no reason given")
    return first.partition("error: ")[2].rstrip(".") or first


def _programs(name: str, *, embedded: bool) -> list[Program]:
    wheel, others = _wheel_folders(), _other_folders()
    return [
        Program(folder / name, version)
        for folder in (wheel + others if embedded else others + wheel)
        if (version := _version(folder / name)) is not None
    ]


def _wheel_folders() -> list[Path]:
    folders = []
    for version in FOLDERS:
        with suppress(EmbeddedPostgresError):
            folders.append(binaries(version))
    return folders


def _other_folders() -> list[Path]:
    # Before PATH, because PATH may have a wrapper that chooses a version by itself.
    installed = [folder for pattern in INSTALLED for folder in sorted(Path("/").glob(pattern.removeprefix("/")))]
    return [*installed, *(Path(folder) for folder in os.get_exec_path() if folder)]


def _version(program: Path) -> str | None:
    if not program.is_file():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        run = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
        if found := _VERSION.search(run.stdout):
            return found[1] + (found[2] or "")
    return None
