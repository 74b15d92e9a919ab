"""The project's conventions that a program can check. `make lint` checks the layers with import-linter."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from pgface import errors
from pgface.cli.output import OPTIONS_IN_PLACE_OF_PARAMETERS, with_options
from pgface.errors import FaceOfAnotherUserError, LicenseNotAcceptedError, PgfaceError, SeveralFacesError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pgface"


def test_only_serving_needs_the_packages_of_the_service() -> None:
    program = "import pgface.cli, sys; print({'uvicorn', 'fastapi', 'starlette'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_docstring_shows_the_tree_of_errors() -> None:
    drawn = [
        line.rpartition(" ")[2] for line in (errors.__doc__ or "").splitlines() if "Error" in line and "`" not in line
    ]
    found = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, PgfaceError)]
    assert drawn == found


@pytest.mark.parametrize("name", [name for name, value in vars(errors).items() if inspect.isclass(value)])
def test_an_errors_default_message_is_one_sentence(name: str) -> None:
    message = str(getattr(errors, name)())
    assert re.fullmatch(r"([A-Z]|pg)[^\n]+\.", message)


def texts_of_the_library() -> Iterator[tuple[Path, str]]:
    """The strings in the modules below the command line, and their modules. `…` stands for a value in an f-string."""
    texts_of_code = runpy.run_path(str(ROOT / "docs" / "prose.py"))["texts_of_code"]
    for module in SOURCE.rglob("*.py"):
        if "cli" not in module.relative_to(SOURCE).parts:
            for _, text in texts_of_code(module.read_text(encoding="utf-8")):
                yield module, " ".join(text.split())


def test_the_library_names_no_option_of_the_command_line_outside_of_a_whole_command() -> None:
    command = re.compile(r"`[^`]* [^`]*`|\b(pgface|docker|tar) .*")
    option = re.compile(r"(?<![\w-])--[a-z]")
    found = [(module, text) for module, text in texts_of_the_library() if option.search(command.sub("", text))]
    assert [(module, text) for module, text in found if len(text.split()) > 3] == []


def test_the_command_line_has_an_option_for_each_parameter_that_an_error_names() -> None:
    library = "\n".join(text for _, text in texts_of_the_library())
    assert [parameter for parameter in OPTIONS_IN_PLACE_OF_PARAMETERS if parameter not in library] == []
    named = set(re.findall(r"`\w+=(?:True|False)`", library))
    assert named - OPTIONS_IN_PLACE_OF_PARAMETERS.keys() == set()


def test_an_error_of_a_command_names_the_option() -> None:
    photo = f"x.jpg: 2 faces were found. Crop the photo to one person, or {SeveralFacesError.CHOICE}."
    assert with_options(photo).endswith("or add `--faces largest`.")
    assert with_options(FaceOfAnotherUserError.ADVICE).endswith("with `--allow-other-user`.")
    assert with_options(str(LicenseNotAcceptedError())).endswith("add `--accept-license`.")


def test_pins_have_hashes_and_no_addresses() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in pins
    packages = [line for line in pins.splitlines() if line and not line.startswith(" ")]
    assert len(packages) > 50
    assert all(re.match(r"[a-z0-9-]+==[^ ]+ ", line) for line in packages)
    assert pins.count("--hash=sha256:") >= len(packages)


def compared_texts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts that a test compares with, and their lines."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        compared: list[ast.expr] = [node.test] if isinstance(node, ast.Assert) else []
        if isinstance(node, ast.Call):
            compared += [keyword.value for keyword in node.keywords if keyword.arg == "match"]
        for part in chain.from_iterable(map(ast.walk, compared)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value


def test_expected_sentences_are_only_in_support_sentences() -> None:
    sentence = re.compile(r"[A-Z][a-z][^<>\[]*( [^ ]+){3,}[.;]( [^<>\[]*)?", re.DOTALL)
    files = (ROOT / "tests").rglob("test_*.py")
    found = [
        f"{file.name}:{line} {text}"
        for file in files
        for line, text in compared_texts(file)
        if sentence.fullmatch(text)
    ]
    assert found == [], "move them to tests/support/sentences"


def test_test_modules_import_no_test_modules() -> None:
    for file in (ROOT / "tests").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        imported = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        imported += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in imported if name.startswith("test_")], file
