"""Runs the commands of a how-to page about servers, as the user that runs PostgreSQL."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import textwrap
from pathlib import Path

from pgface.database.embedded.cluster import binaries
from pgface.database.embedded.user import server_user
from support.documentation import HOW_TO

_COMMANDS = re.compile(r"<!-- tested: (\w+) -->\n *```sh\n(.+?)```", re.DOTALL)


class PageShell:
    """Runs the tested commands of a page. `pgface` only notes its arguments, which the test runs in this process."""

    def __init__(self, page: str, folder: Path, variables: dict[str, str]) -> None:
        """Read the page.

        Args:
            page: its path relative to docs/how-to.
            folder: the working folder of the commands. It belongs to the server's user.
            variables: the environment of the commands.

        """
        self._commands = dict(_COMMANDS.findall((HOW_TO / page).read_text(encoding="utf-8")))
        self.folder = folder
        self.variables = variables
        self._calls = folder / "calls"
        program = folder / "pgface"
        program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(self._calls))}\n')
        program.chmod(0o755)

    def run(self, name: str) -> str:
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", textwrap.dedent(self._commands[name])],
            env={**self.variables, "PATH": f"{self.folder}:{binaries()}:{os.environ['PATH']}"},
            user=None if (user := server_user(self.folder)) is None else user.uid,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def calls(self) -> list[list[str]]:
        """Return the arguments of the calls of pgface since the last time."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return [line.split() for line in lines]


def own_all(folder: Path) -> None:
    """Give a folder and everything in it to the user that runs PostgreSQL."""
    if (user := server_user(folder)) is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.uid, user.gid)
