"""Measure how long commands take to start, beside a bare Python and the packages that they need, in one run.

The figures are processor time of user and system, because the machine may be shared. The embedded PostgreSQL runs
already, in a temporary folder that is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from comparisons import compare
from pgface import Settings
from pgface.database.embedded.server import EmbeddedPostgres
from pgface.database.pool import initialise
from pgface.operations.bench.facts import machine
from pgface.operations.bench.report import table
from pgface.operations.bench.timing import Row, Side, interleave

PACKAGES = ("pgface", "typer", "rich", "psycopg", "pydantic-settings")
TARGETS = {"--version": 0.15, "--help": 0.15, "users list": 0.5, "status": 0.5}
"""The maximum processor time in seconds."""
PYTHON = "python -c pass"
IMPORTS = "import typer, rich.table, psycopg_pool, pydantic_settings"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="how often each command is run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgface_bench_") as folder:
        settings = Settings.model_validate({"database_url": None, "data_dir": Path(folder) / "data"})
        with EmbeddedPostgres(settings.postgres_dir):
            initialise(settings)
            rows = _measure(settings, arguments.rounds)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table("Starting a command: processor time, medians; ratio: median over n rounds, fastest", rows))
    facts = machine(PACKAGES)
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), soft_wrap=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": facts, "rows": [asdict(row) for row in rows]}, indent=2))


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
