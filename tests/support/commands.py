"""Runners of commands: in this process if only the output matters, or in a separate one as in a shell."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from pgface.cli import main
from pgface.settings import Settings, get_settings

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
"""Runs a command with its arguments, checks its exit code, and returns its output. `code=None` accepts any code."""

TIMEOUT = 120
"""Seconds after which a test fails if the process still runs."""


def without_settings() -> dict[str, str]:
    """Return this process's environment without pgface's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PGFACE_")}


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that select a test's gallery."""
    assert settings.database_url is not None
    return {
        "PGFACE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PGFACE_SCHEMA": settings.schema_name,
        "PGFACE_DATA_DIR": str(settings.data_dir),
        "PGFACE_SEARCH_LATENCY_TARGET": str(settings.search_latency_target),
    }


def runner(environment: Mapping[str, str], cwd: Path | None = None) -> Run:
    """Return a runner in this process, because a new process needs a second to import pgface.

    Do not use it in threads, for `postgres psql`, which starts a program, or for `serve`, which sets variables.
    """

    def run(*arguments: object, code: int | None = 0, stdin: str = "", more: Mapping[str, str] | None = None) -> Done:
        wanted = dict(environment) | dict(more or {})
        given: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PGFACE_")}
        command = ["pgface", *map(str, arguments)]
        with (
            CliRunner(env={"COLUMNS": "80"}).isolation(input=stdin, env=given | wanted) as (stdout, stderr, _),
            patch.object(sys, "argv", command),
            chdir(cwd) if cwd else nullcontext(),
            _logging_restored(),
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
    """Return a runner that starts a process by a shell, for tests of streams, signals and encodings."""

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
            timeout=TIMEOUT,
        )
        return _checked(done, code)

    return run


@contextmanager
def _logging_restored() -> Iterator[None]:
    """Restore the handlers and levels of logging. A worker logs to its stderr, which is closed after the command."""
    loggers = [logging.getLogger(name) for name in (None, "pgface", "uvicorn")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    try:
        yield
    finally:
        for logger, (handlers, level) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(level)


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
