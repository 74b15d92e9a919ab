"""Measure how long commands take to start, beside a bare Python and the packages that they need, in one run.

The figures are processor time of user and system, because the machine may be shared. The embedded PostgreSQL runs
already, in a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from comparisons import compare
from output import Output, argument_parser
from pgface import Settings
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import initialise
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row, Side, interleave

PACKAGES = ("pgface", "typer", "rich", "psycopg", "pydantic-settings")
TARGETS = {"--version": 0.15, "--help": 0.15, "users list": 0.5, "status": 0.5}
"""The maximum processor time in seconds."""
PYTHON = "python -c pass"
IMPORTS = "import typer, rich.table, psycopg_pool, pydantic_settings"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each command is run")
    arguments = parser.parse_args()
    output = Output(arguments, PACKAGES)
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        with EmbeddedPostgres(settings.postgres_dir):
            initialise(settings)
            output.add(_measure(settings, arguments.rounds))
    title = "Starting a command: processor time, medians; ratio: median over n rounds, fastest"
    output.console.print(table(title, output.rows))
    output.finish()


def _measure(settings: Settings, rounds: int) -> list[Row]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PGFACE_DATA_DIR": str(settings.data_dir)}
    environment.pop("PGFACE_DATABASE_URL", None)
    sides: dict[str, Side] = {
        PYTHON: _processor_time(["-c", "pass"], environment),
        IMPORTS: _processor_time(["-c", IMPORTS], environment),
    }
    sides |= {command: _processor_time(["-m", "pgface", *command.split()], environment) for command in TARGETS}
    series = interleave(sides, rounds, warm_up=2)
    rows = []
    for command, target in TARGETS.items():
        met = float(np.median(series[command])) <= target
        row = compare(f"pgface {command}", series, command, PYTHON, measure="time")
        rows.append(replace(row, target=f"≤ {1000 * target:g} ms", met=met))
        if "-" not in command:
            rows.append(replace(compare("", series, command, IMPORTS, measure="time"), other=_of_imports(series)))
    return rows


def _of_imports(series: dict[str, list[float]]) -> str:
    return f"the packages alone: {1000 * np.median(series[IMPORTS]):.3g} ms"


def _processor_time(arguments: list[str], environment: dict[str, str]) -> Side:
    """Make a side that runs Python once, and gives the processor time of it and its children."""

    def side(_: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return side


if __name__ == "__main__":
    main()
