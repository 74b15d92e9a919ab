"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from pgface import errors
from pgface.errors import PgfaceError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pgface"

# Arrows point one way: a room may import only from those named here, and from within itself.
MAY_IMPORT = {
    "errors": {"texts"},
    "schema": set(),
    "forks": set(),
    "machine": set(),
    "settings": {"errors", "machine"},
    "private_folder": set(),
    "ownership": set(),
    "packages": set(),
    "file_systems": set(),
    "stages": set(),
    "work": {"errors"},
    "faces": {
        "ownership",
        "errors",
        "file_systems",
        "forks",
        "packages",
        "settings",
        "private_folder",
        "stages",
        "texts",
        "work",
    },
    "postgres": {
        "ownership",
        "errors",
        "file_systems",
        "forks",
        "machine",
        "packages",
        "settings",
        "schema",
        "private_folder",
        "texts",
    },
    "photo_workers": {"errors", "settings", "faces"},
    "plotting": {"errors", "packages"},
    "signals": set(),
    "index": {"errors", "schema", "postgres", "search", "signals"},
    "confidence": set(),
    "backup": {
        "ownership",
        "packages",
        "errors",
        "settings",
        "schema",
        "faces",
        "postgres",
        "binding",
        "file_systems",
        "photo_files",
        "search",
    },
    "texts": set(),
    "tokens": set(),
    "accounts": {
        "errors",
        "machine",
        "settings",
        "faces",
        "schema",
        "postgres",
        "gallery",
        "people",
        "results",
        "tokens",
        "texts",
        "forks",
    },
    "server": {
        "packages",
        "accounts",
        "errors",
        "faces",
        "folder",
        "gallery",
        "machine",
        "people",
        "postgres",
        "results",
        "schema",
        "settings",
        "signals",
        "stages",
        "texts",
        "work",
        "tokens",
    },
    "photo_inventory": {"schema", "postgres", "photo_files"},
    "doctor": {
        "ownership",
        "errors",
        "settings",
        "faces",
        "search",
        "schema",
        "postgres",
        "binding",
        "evaluation",
        "gallery",
        "index",
        "people",
        "photo_files",
        "photo_inventory",
        "texts",
    },
    "legacy": {
        "errors",
        "settings",
        "schema",
        "faces",
        "postgres",
        "binary_copy",
        "binding",
        "bulk",
        "enrollment",
        "people",
        "photo_files",
        "tokens",
        "texts",
    },
    "transfer": {
        "packages",
        "errors",
        "settings",
        "schema",
        "faces",
        "postgres",
        "binary_copy",
        "binding",
        "legacy",
        "people",
        "photo_files",
        "texts",
    },
    "evaluation": {
        "ownership",
        "packages",
        "errors",
        "machine",
        "settings",
        "schema",
        "faces",
        "postgres",
        "photo_workers",
        "binding",
        "confidence",
        "file_systems",
        "plotting",
        "private_folder",
        "results",
        "texts",
    },
}


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pgface."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pgface.")}
    return rooms


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_nothing_imports_upwards(room: str) -> None:
    files = list((SOURCE / room).rglob("*.py")) or [SOURCE / f"{room}.py"]
    for file in files:
        assert imported_rooms(file) - {room} <= MAY_IMPORT[room], file


def test_only_the_command_line_imports_the_command_line_and_the_service() -> None:
    for file in SOURCE.rglob("*.py"):
        if "cli" not in file.parts and file.name != "__main__.py":
            others = imported_rooms(file) & {"cli", "server"}
            assert others <= ({"server"} if "server" in file.parts else set()), file


def test_only_serving_needs_the_packages_of_the_service() -> None:
    program = "import pgface.cli, sys; print({'uvicorn', 'fastapi', 'starlette'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_tree_of_errors_is_the_one_in_the_docstring() -> None:
    drawn = [
        line.rpartition(" ")[2] for line in (errors.__doc__ or "").splitlines() if "Error" in line and "`" not in line
    ]
    found = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, PgfaceError)]
    assert drawn == found


@pytest.mark.parametrize("name", [name for name, value in vars(errors).items() if inspect.isclass(value)])
def test_an_errors_default_message_is_one_sentence(name: str) -> None:
    message = str(getattr(errors, name)())
    assert re.fullmatch(r"([A-Z]|pg)[^\n]+\.", message)


def test_pins_hold_hashes_and_no_addresses() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in pins
    packages = [line for line in pins.splitlines() if line and not line.startswith(" ")]
    assert len(packages) > 50
    assert all(re.match(r"[a-z0-9-]+==[^ ]+ ", line) for line in packages)
    assert pins.count("--hash=sha256:") >= len(packages)


def compared_texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts that a test compares with, by their lines."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        compared: list[ast.expr] = [node.test] if isinstance(node, ast.Assert) else []
        if isinstance(node, ast.Call):
            compared += [keyword.value for keyword in node.keywords if keyword.arg == "match"]
        for part in chain.from_iterable(map(ast.walk, compared)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value


def test_tests_expect_no_sentence_outside_of_their_one_place() -> None:
    sentence = re.compile(r"[A-Z][a-z][^<>\[]*( [^ ]+){3,}[.;]( [^<>\[]*)?", re.DOTALL)
    files = (ROOT / "tests").rglob("test_*.py")
    found = [
        f"{file.name}:{line} {text}"
        for file in files
        for line, text in compared_texts(file)
        if sentence.fullmatch(text)
    ]
    assert found == [], "put them into tests/support/sentences"


def test_test_modules_import_no_test_modules() -> None:
    for file in (ROOT / "tests").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        imported = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        imported += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in imported if name.startswith("test_")], file
