"""The commands: run in this process where only their answer matters, or in one of their own as a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, nullcontext
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from pgface.cli import main
from pgface.settings import Settings, get_settings

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
"""Runs a command by its arguments, checks the exit code (0, or `code=`; None for any), and returns what it printed."""

SECONDS = 120
"""After which a process that still runs has failed the test."""


def without_settings() -> dict[str, str]:
    """This process's environment without pgface's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that name a test's gallery."""
    assert settings.database_url is not None
    return {
        "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PGFACE_SCHEMA": settings.schema_name,
        "PGFACE_DATA_DIR": str(settings.data_dir),
        "PGFACE_SEARCH_LATENCY_TARGET": str(settings.search_latency_target),
    }


def runner(environment: Mapping[str, str], cwd: Path | None = None) -> Run:
    """Runs commands inside this process: importing pgface takes a process of its own a second each time.

    Not for threads, for commands that replace the process (`postgres psql`), or for `serve`, which sets variables.
    """

    def run(*arguments: object, code: int | None = 0, stdin: str = "", more: Mapping[str, str] | None = None) -> Done:
        wanted = dict(environment) | dict(more or {})
        given: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PGFACE_")}
        command = ["pgface", *map(str, arguments)]
        with (
            CliRunner(env={"COLUMNS": "80"}).isolation(input=stdin, env=given | wanted) as (stdout, stderr, _),
            patch.object(sys, "argv", command),
            chdir(cwd) if cwd else nullcontext(),
        ):
            get_settings.cache_clear()
            try:
                ended = _exit_code()
            finally:
                get_settings.cache_clear()
            sys.stderr.flush()
            done = Done(command, ended, stdout.getvalue().decode(), stderr.getvalue().decode())
        return _checked(done, code)

    return run


def process_runner(environment: Mapping[str, str], cwd: Path | None = None) -> Run:
    """Runs commands in a process each, by a shell, for what concerns streams, signals, encodings and exec."""

    def run(
        *arguments: object, code: int = 0, stdin: str = "", more: Mapping[str, str] | None = None, streams: str = ""
    ) -> Done:
        command = ["sh", "-c", f'"$@" {streams}', "sh", sys.executable, "-m", "pgface", *map(str, arguments)]
        done = subprocess.run(
            command,
            env={**without_settings(), **environment, **(more or {})},
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return _checked(done, code)

    return run


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _checked(done: Done, code: int | None) -> Done:
    assert code is None or done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
