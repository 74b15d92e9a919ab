"""The output of a benchmark: tables on the console, the machine, and a JSON file."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from pgface.operations.bench.facts import machine


def argument_parser(description: str | None) -> ArgumentParser:
    """Make a parser with `--json`, described by the first line of the module's docstring."""
    parser = ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    return parser


@dataclass(slots=True)
class Output:
    """Prints to the console, and collects the rows for the JSON file."""

    arguments: Namespace
    packages: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    """More facts about the run."""
    console: Console = field(
        default_factory=lambda: Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    )
    rows: list[Any] = field(default_factory=list)
    """Instances of dataclasses."""
    started: float = field(default_factory=monotonic)

    def add(self, rows: Iterable[Any]) -> None:
        """Add rows, and write the file again."""
        self.rows += rows
        if self.arguments.json is not None:
            figures = {"machine": self._machine(), "rows": [asdict(row) for row in self.rows]}
            self.arguments.json.write_text(json.dumps(figures, indent=2))

    def skip(self, reason: object) -> None:
        """Say why something is not measured."""
        self.console.print(f"skipped: {reason}", markup=False, soft_wrap=True)

    def print_markdown(self, lines: Iterable[Mapping[str, str]]) -> None:
        """Print a Markdown table of lines that have the same columns."""
        lines = list(lines)
        if lines:
            self.console.print(f"| {' | '.join(lines[0])} |", markup=False, soft_wrap=True)
            self.console.print("|" + "---|" * len(lines[0]))
            for line in lines:
                self.console.print(f"| {' | '.join(line.values())} |", markup=False, soft_wrap=True)

    def finish(self) -> None:
        """Print the machine, the versions and the time."""
        self.console.print(", ".join(f"{name} {value}" for name, value in self._machine().items()), soft_wrap=True)
        self.console.print(f"{monotonic() - self.started:.0f} s in all")

    def _machine(self) -> dict[str, str]:
        return {**self.facts, **machine(self.packages)}
