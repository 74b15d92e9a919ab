"""Run the commands of a documentation page in order, in one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    "pgface": '#!/bin/sh\nexec "{python}" -m pgface "$@"\n',
    "python": '#!/bin/sh\nexec "{python}" "$@"\n',
    "flask": '#!/bin/sh\nexec "{python}" -m flask "$@"\n',
    # Connect to the database of the previous commands.
    "sql": '#!/bin/sh\nif [ "$PGFACE_DATABASE_URL" ]; then exec psql "$PGFACE_DATABASE_URL" "$@"; fi\n'
    'exec pgface postgres psql "$@"\n',
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    not_run: str | None
    """The reason that a test cannot run it, if there is one."""


def blocks(page: str) -> list[Block]:
    """Find the blocks with a language on a page under docs/how-to."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return [Block(found["language"], found["text"], found["reason"]) for found in _BLOCK.finditer(text)]


def without_numbers(text: str) -> str:
    """Replace the numbers of an output, which differ between machines."""
    return " ".join(re.sub(r"\d[\d.,e-]*", "0", re.sub(r"[-─]{2,}", "", text)).split())


class Reader:
    """A shell for the blocks of a page. A variable that one block exports is set in the next one."""

    def __init__(self, folder: Path, variables: Mapping[str, str], *, instead: Mapping[str, str] | None = None) -> None:
        """Prepare the folder and the environment.

        Args:
            folder: the folder in which the commands run. It is created.
            variables: variables for the environment, which has no other settings of pgface or PostgreSQL.
            instead: replacements for the page's examples, such as the URL of a server.

        """
        self.folder = folder
        self.instead = dict(instead or {})
        programs = folder.parent / "programs"
        for made in (folder, programs):
            made.mkdir(exist_ok=True)
        for name, script in _PROGRAMS.items():
            (programs / name).write_text(script.format(python=sys.executable))
            (programs / name).chmod(0o755)
        own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        psql = subprocess.run([programs / "pgface", "postgres", "programs"], capture_output=True, text=True, check=True)
        path = f"{programs}:{psql.stdout.strip()}:{os.environ['PATH']}"
        self.environment = own | {"PATH": path, "COLUMNS": "160", "PAGER": "cat"} | dict(variables)

    def follow(self, page: str) -> str:
        """Run the page's blocks, and compare their output with the page. Returns all output.

        The output of a block must contain the `text` block after it, except for the numbers.
        """
        output, last = "", ""
        for block in blocks(page):
            if block.language == "text" and block.not_run is None:
                assert without_numbers(block.text) in without_numbers(last), f"{page} shows:\n{block.text}not:\n{last}"
            elif block.language in _RUN_BY and block.not_run is None:
                last = self.run(_RUN_BY[block.language].format(text=block.text))
                output += last
        return output

    def run(self, commands: str) -> str:
        """Run commands as one block of a page. Returns their output."""
        for example, real in self.instead.items():
            commands = commands.replace(example, real)
        variables_file = self.folder.parent / "environment"
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", f"{commands}\nenv --null > '{variables_file}'"],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        self.environment = dict(line.split("=", 1) for line in variables_file.read_text().split("\0") if line)
        return done.stdout
