"""Virtual environments that hold the published wheel, and programs that run in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path

from support.commands import without_settings

ROOT = Path(__file__).parents[2]
_HASH = re.compile(r"\s*\\\n\s+--hash=\S+")


def run(*command: object, cwd: Path, code: int = 0, more: Mapping[str, str] | None = None) -> str:
    """Run a program without pgface's variables but `more`, check its exit code, and return what it printed."""
    environment = {name: value for name, value in without_settings().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, **(more or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def python_in(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def packages_of(python: Path) -> Path:
    """The folder into which packages are installed."""
    return Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=python.parent).strip())


def new_environment(folder: Path, *, sees: Iterable[str | Path]) -> Path:
    """Make an environment that also sees the packages in some folders, and return its Python."""
    venv.create(folder, with_pip=False)
    python = python_in(folder)
    lines = "".join(f"{place}\n" for place in sees)
    packages_of(python).joinpath("dependencies.pth").write_text(lines, encoding="utf-8")
    return python


def pip_install(python: Path, *arguments: object) -> None:
    """Install into that environment by the pip of this one."""
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    run(*pip, *arguments, cwd=python.parent)


def pinned_versions(folder: Path) -> Path:
    """Write the versions of `constraints.txt` without their hashes, as pip takes no hashes beside a local wheel."""
    file = folder / "versions.txt"
    file.write_text(_HASH.sub("", (ROOT / "constraints.txt").read_text(encoding="utf-8")), encoding="utf-8")
    return file


def build(folder: Path, *options: str) -> None:
    """Build the project into a folder: a source distribution and, from it, a wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", folder, ROOT, cwd=folder)
