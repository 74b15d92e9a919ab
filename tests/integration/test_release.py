"""The wheel and the source distribution are complete, and a program runs and type-checks with the wheel."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgface.database.embedded.server import EmbeddedPostgres
from support.environments import ROOT, build, new_environment, pip_install, run
from support.sentences import commands as says

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROGRAM = """
from pathlib import Path
from typing import assert_type

from pgface import Comparison, Enrollment, Gallery, Identification, Match, PgfaceError, Settings, User, Verification

settings = Settings.model_validate({"data_dir": Path("data"), "PGFACE_SCHEMA": "public"})
assert_type(settings.data_dir, Path)
assert_type(settings.database_url is None, bool)


def ask(gallery: Gallery, photo: Path) -> list[str]:
    enrollment = gallery.enroll(photo, "alice@example.org", name="Alice", face="largest")
    assert_type(enrollment, Enrollment)
    assert_type(enrollment.user, User)
    assert_type(enrollment.added, bool)
    answer = gallery.identify(photo.read_bytes(), threshold=0.4, top=3)
    assert_type(answer, Identification)
    assert_type(answer.faces[0].matches, tuple[Match, ...])
    verified = gallery.verify(photo, enrollment.user.id)
    assert_type(verified, Verification)
    assert_type(verified.match, bool)
    assert_type(verified.similarity, float)
    assert_type(verified.confidence, float | None)
    assert_type(gallery.compare(photo, photo), Comparison)
    assert_type(gallery.users(), list[User])
    return [match.name for face in answer.faces for match in face.matches]


try:
    with Gallery.open(settings) as gallery:
        print(ask(gallery, Path("alice.jpg")))
except PgfaceError as error:
    print(error)
"""
MISTAKES = """
from pgface import Gallery

with Gallery.open() as gallery:
    gallery.enroll(5, "alice@example.org")
    gallery.identify("alice.jpg", limit=0.4)
    gallery.verify("alice.jpg", "alice@example.org", face="biggest")
    name: int = gallery.users()[0].name
    gallery.nothing()
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and the wheel from it, in a folder."""
    folder = tmp_path_factory.mktemp("published")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(published: Path) -> Path:
    (wheel,) = published.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the wheel and its dependencies."""
    dependencies = [place for place in sys.path if Path(place).name == "site-packages"]
    python = new_environment(tmp_path_factory.mktemp("installed") / "venv", sees=dependencies)
    pip_install(python, "--no-deps", "--no-index", wheel)
    place = run(python, "-c", "import pgface; print(pgface.__file__)", cwd=python.parent).strip()
    assert Path(place).is_relative_to(python.parents[1])
    return python


def test_the_build_makes_a_wheel_and_a_source_distribution(published: Path) -> None:
    name = f"pgface-{PROJECT['version']}"
    assert {file.name for file in published.iterdir()} == {f"{name}-py3-none-any.whl", f"{name}.tar.gz"}
    run(sys.executable, "-m", "twine", "check", "--strict", *published.iterdir(), cwd=published)


def test_the_source_distribution_and_the_checkout_build_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    build(tmp_path, "--wheel")
    (direct,) = tmp_path.iterdir()
    assert hashlib.sha256(direct.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def test_the_wheel_contains_only_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    package = [file for file in (ROOT / "src" / "pgface").rglob("*") if file.is_file() and file.suffix != ".pyc"]
    information = f"pgface-{PROJECT['version']}.dist-info/"
    expected = {file.relative_to(ROOT / "src").as_posix() for file in package}
    assert {name for name in names if not name.startswith(information)} == expected
    assert {"pgface/py.typed", f"{information}licenses/LICENSE"} <= set(names)


def test_the_source_distribution_leaves_out_the_clients_in_other_languages(published: Path) -> None:
    (source,) = published.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = archive.getnames()
    assert any("/src/pgface/" in name for name in names)
    assert [name for name in names if "/clients/" in name] == []


def test_the_wheel_installs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    python = new_environment(tmp_path / "venv", sees=[])
    pip_install(python, "--no-deps", "--no-index", wheel)
    assert run(python.with_name("pgface"), "--version", cwd=tmp_path) == f"pgface {PROJECT['version']}\n"
    metadata = run(python, "-c", "from importlib.metadata import requires; print(*requires('pgface'))", cwd=tmp_path)
    assert all(requirement.partition(">")[0] in metadata for requirement in PROJECT["dependencies"])


def test_mypy_checks_a_program_with_the_wheel(python: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "mistakes.py").write_text(MISTAKES, encoding="utf-8")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", tmp_path / "cache")
    run(*mypy, "program.py", cwd=tmp_path)
    found = run(*mypy, "mistakes.py", cwd=tmp_path, code=1)
    assert [line.rpartition("[")[2].rstrip("]") for line in found.splitlines()[:-1] if ": error:" in line] == [
        *("arg-type", "call-arg", "arg-type", "assignment", "attr-defined")
    ]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Path]:
    demo = tmp_path / "examples" / "demo.py"
    demo.parent.mkdir()
    shutil.copy(ROOT / "examples" / "demo.py", demo)
    yield demo
    EmbeddedPostgres(tmp_path / "demo-data" / "postgres").stop(force=True)


def test_the_installed_package_does_what_the_demo_does(python: Path, demo: Path, tmp_path: Path) -> None:
    said = run(python, demo, cwd=tmp_path)
    assert said.count(": enrolled\n") == 7
    assert says.DEMO_VERIFIES.format(name="Eileen Collins") in said
