"""The contents of the container image, built without a container engine, from pinned packages and the scripts of the
Dockerfile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from support.commands import Done, without_settings
from support.environments import link_file

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Image:
    """The folders that the image copies from its build stage."""

    packages: Path
    """The folder site-packages."""
    programs: Path
    """The folder that becomes /usr/lib."""

    def run(self, *arguments: object, environment: dict[str, str], code: int = 0) -> Done:
        """Run Python with the packages of the image only, and its PostgreSQL programs in PATH."""
        folders = [str(self.programs / "postgresql" / version / "bin") for version in ("16", "18")]
        variables = {
            "PYTHONPATH": str(self.packages),
            "PATH": os.pathsep.join([*folders, "/usr/bin", "/bin"]),
        }
        done = subprocess.run(
            # The Python from which the virtual environment was made, without its packages (-S).
            [getattr(sys, "_base_executable", sys.executable), "-S", *map(str, arguments)],
            env=without_settings() | variables | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def pgface(self, *arguments: object, environment: dict[str, str], code: int = 0) -> Done:
        return self.run("-m", "pgface", *arguments, environment=environment, code=code)


def pinned(name: str) -> dict[str, str]:
    """Return the pinned version of each package in a requirements file, for this Python and platform."""
    from packaging.requirements import Requirement

    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"[a-z]", line)]
    return {pin.name: str(pin.specifier) for pin in pins if pin.marker is None or pin.marker.evaluate()}


def build_image(folder: Path) -> Image:
    """Build the image's folders by the same steps, from this environment, which has the same versions of packages."""
    packages, programs = folder / "site-packages", folder / "programs"
    for name, version in pinned("deploy/requirements.txt").items():
        installed = distribution(name)
        assert f"=={installed.version}" == version, name
        for file in installed.files or ():
            if ".." not in file.parts:
                link_file(Path(str(installed.locate_file(file))), packages / file)
    _install_wheel(folder, packages)
    wheel = Path(sysconfig.get_path("purelib"))
    subprocess.run(["/bin/sh", ROOT / "deploy" / "trim.sh", packages], check=True)
    subprocess.run(["/bin/sh", ROOT / "deploy" / "programs.sh", wheel, programs], check=True)
    return Image(packages, programs)


def _install_wheel(folder: Path, packages: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = shutil.copytree(ROOT, folder / "source", ignore=_not_in_wheel, dirs_exist_ok=True)
    subprocess.run([*command, "--wheel-dir", folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("pgface-*.whl")
    shutil.unpack_archive(wheel, packages, "zip")


def _not_in_wheel(folder: str, names: list[str]) -> set[str]:
    wanted = {"src", "pyproject.toml", "README.md", "LICENSE"} if Path(folder) == ROOT else set(names) - {"__pycache__"}
    return set(names) - wanted
