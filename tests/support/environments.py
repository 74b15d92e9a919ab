"""Virtual environments that hold the published wheel, and programs that run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distribution, distributions
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.commands import without_settings

ROOT = Path(__file__).parents[2]
_UV = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
_LEFT_OUT = {canonicalize_name(Requirement(line).name) for line in _UV["override-dependencies"]}
"""Packages that others ask for, and that are not pinned, because pgface works without them."""


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


def link_extras(python: Path, extras: Collection[str], *, plain: Path) -> None:
    """Give an environment what pgface with some extras needs, as its metadata and that of each package says.

    The files come from this environment, because pip needs half a minute to unpack some of the packages.

    Args:
        python: the Python of the environment.
        extras: extras of pgface.
        plain: the folder with pgface and what it needs without extras, which the environment sees.

    """
    (pgface,) = distributions(name="pgface", path=[str(plain)])
    present: set[str] = {canonicalize_name(found.name) for found in distributions(path=[str(plain)])}
    target = packages_of(python)
    for package in _needed(pgface, extras, present):
        _link_files(package, target)


def _needed(package: Distribution, extras: Collection[str], present: set[str]) -> Iterator[Distribution]:
    """Yield the packages that a package with extras needs and that are not present, and note them as present."""
    for requirement in map(Requirement, package.requires or ()):
        marker = requirement.marker
        name = canonicalize_name(requirement.name)
        applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if not applies or name in _LEFT_OUT:
            continue
        found = package if name == canonicalize_name(package.name) else distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), requirement
        if name not in present:
            yield found
        elif not requirement.extras:
            continue
        present.add(name)
        yield from _needed(found, requirement.extras, present)


def _link_files(package: Distribution, target: Path) -> None:
    assert package.files, package.name
    for file in package.files:
        if ".." not in file.parts:  # programs are not needed here
            link_file(Path(str(file.locate())), target / file)


def link_file(source: Path, place: Path) -> None:
    """Link a file of this environment into another, with its bytecode, so that it is not compiled there again.

    A file that is not there is left out, such as bytecode that a package lists but that was never written.
    """
    _link(source, place)
    if source.suffix == ".py":
        _link(Path(cache_from_source(source)), Path(cache_from_source(place)))


def _link(source: Path, place: Path) -> None:
    if place.exists() or not source.is_file():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:  # on another file system
        shutil.copy2(source, place)


def build(folder: Path, *options: str) -> None:
    """Build the project into a folder: a source distribution and, from it, a wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", folder, ROOT, cwd=folder)
