"""Runs the command blocks of a documentation page in order, in one shell, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgface.database.embedded.cluster import binaries
from support.forked_commands import client

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE
)
_RUN_BY = {
    "shell": "{text}",
    "python": "python - <<'END'\n{text}END\n",
    "sql": "sql -v ON_ERROR_STOP=1 <<'END'\n{text}END\n",
}
_PROGRAMS = {
    # A page runs a dozen commands, and each would import pgface again.
    "pgface": '#!/bin/sh\nexec "{python}" -IS "{client}" "$@"\n',
    "python": '#!/bin/sh\nexec "{python}" "$@"\n',
    "flask": '#!/bin/sh\nexec "{python}" -m flask "$@"\n',
    # Connects to the database of the previous commands.
    "sql": '#!/bin/sh\nif [ "$PGFACE_DATABASE_URL" ]; then exec psql "$PGFACE_DATABASE_URL" "$@"; fi\n'
    'exec pgface postgres psql "$@"\n',
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    not_run: str | None
    """The reason why a test cannot run it, or None."""


def blocks(page: str) -> list[Block]:
    """Return the blocks with a language of a page. Its path is relative to docs/how-to."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return [Block(found["language"], found["text"], found["reason"]) for found in _BLOCK.finditer(text)]


def without_numbers(text: str) -> str:
    """Remove numbers, table rules and line breaks, which differ between runs and machines."""
    return " ".join(re.sub(r"\d[\d.,e-]*", "0", re.sub(r"[-─]{2,}", "", text)).split())


class Reader:
    """A shell whose environment variables persist from block to block."""

    def __init__(self, folder: Path, variables: Mapping[str, str], *, instead: Mapping[str, str] | None = None) -> None:
        """Create the working folder and the environment.

        Args:
            folder: the working folder of the commands. It is created.
            variables: environment variables. No other variable of pgface or PostgreSQL is set.
            instead: replacements for the page's examples, such as the URL of a server.

        """
        self.folder = folder
        self.instead = dict(instead or {})
        programs = folder.parent / "programs"
        for directory in (folder, programs):
            directory.mkdir(exist_ok=True)
        for name, script in _PROGRAMS.items():
            (programs / name).write_text(script.format(python=sys.executable, client=client()))
            (programs / name).chmod(0o755)
        own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        path = f"{programs}:{binaries()}:{os.environ['PATH']}"
        self.environment = own | {"PATH": path, "COLUMNS": "160", "PAGER": "cat"} | dict(variables)

    def follow(self, page: str) -> str:
        """Run a page's blocks, and return everything that they print.

        The output of each block must contain the `text` block that follows it, apart from numbers.
        """
        everything, last = "", ""
        for block in blocks(page):
            if block.language == "text" and block.not_run is None:
                assert without_numbers(block.text) in without_numbers(last), f"{page} shows:\n{block.text}not:\n{last}"
            elif block.language in _RUN_BY and block.not_run is None:
                last = self.run(_RUN_BY[block.language].format(text=block.text))
                everything += last
        return everything

    def run(self, commands: str) -> str:
        """Run commands as one block of a page, and return what they print."""
        for example, real in self.instead.items():
            commands = commands.replace(example, real)
        kept = self.folder.parent / "environment"
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", f"{commands}\nenv --null > '{kept}'"],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        self.environment = dict(line.split("=", 1) for line in kept.read_text().split("\0") if line)
        return done.stdout
