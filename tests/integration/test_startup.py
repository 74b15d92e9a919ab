"""The modules that a command imports, because they make its start slow, and the help of all commands."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from pgface.cli.commands import GROUPS, app
from pgface.gallery import Gallery
from pgface.settings import Settings
from support.commands import Run, environment_of, without_settings

HEAVY = {
    *("numpy", "cv2", "PIL", "onnxruntime", "insightface", "dlib", "matplotlib", "sklearn"),
    *("fastapi", "starlette", "uvicorn", "jinja2", "werkzeug", "zxcvbn", "psutil", "pygments", "rich.markdown"),
}
OF_A_GALLERY = {"psycopg", "pydantic"}
PROGRAM = """
import sys
from pgface.cli import main
sys.argv = ["pgface", *sys.argv[1:]]
code = 0
try:
    main()
except SystemExit as ended:
    code = ended.code
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def imported(*arguments: str, environment: dict[str, str] | None = None) -> set[str]:
    """Return the modules in memory after a command."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**without_settings(), **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_a_start_imports_no_database_and_no_face_model(argument: str) -> None:
    modules = imported(argument)
    assert not modules & (HEAVY | OF_A_GALLERY)
    assert not [name for name in modules if name.startswith("rich")]
    assert {name for name in modules if name.startswith("pgface.")} <= {
        *("pgface.cli", "pgface.cli.streams", "pgface.cli.commands"),
        *("pgface.errors", "pgface.text", "pgface.system", "pgface.system.ownership"),
    }


def test_the_benchmark_is_imported_only_by_its_own_command(settings: Settings) -> None:
    """A wrong name also imports it, because the hint needs the names of all commands."""
    for arguments in (["--help"], ["fit-search", "--help"], ["users", "list", "--help"], ["doctor", "--help"]):
        modules = imported(*arguments, environment=environment_of(settings))
        assert not [name for name in modules if "bench" in name], arguments
    assert {"pgface.cli.bench", "pgface.operations.bench.run"} <= imported("bench", "--help")


def test_the_version_needs_no_argument_parser() -> None:
    assert "typer" not in imported("--version")


@pytest.mark.usefixtures("gallery")
@pytest.mark.parametrize(
    "arguments", [["users", "list"], ["users", "list", "--json"], ["status"], ["status", "--json"]]
)
def test_reading_the_gallery_imports_no_face_model(settings: Settings, arguments: list[str]) -> None:
    modules = imported(*arguments, environment=environment_of(settings))
    assert modules >= OF_A_GALLERY
    assert not modules & HEAVY


def commands() -> dict[str, object]:
    """Return every command by its full name."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = Context(group)
    found: dict[str, object] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found[name] = command
        if isinstance(command, TyperGroup):
            found |= {f"{name} {child}": command.commands[child] for child in command.commands}
    return found


def test_help_shows_each_command_in_one_line_of_its_group(run: Run) -> None:
    sections = run("--help").stdout.split("\n\n")
    listed = {title: lines for title, *lines in map(str.splitlines, sections[-len(GROUPS) :])}
    assert listed.keys() == {f"{title}:" for title in GROUPS}
    for title, group in GROUPS.items():
        assert [line.split()[0] for line in listed[f"{title}:"]] == list(group)
    assert {name for group in GROUPS.values() for name in group} == {name for name in commands() if " " not in name}
    for line in (line for lines in listed.values() for line in lines):
        assert len(line) <= 80
        assert line.endswith(".")


def test_help_shows_flags_without_a_type(run: Run) -> None:
    names = list(commands())
    assert len(names) > 60
    for name in names:
        text = run(*name.split(), "--help").stdout
        assert "<bool>" not in text, name
        assert not set(text) & set("╭│╰"), name
        assert max(map(len, text.splitlines())) <= 80, name


def test_a_wrong_name_is_answered_with_similar_names(run: Run) -> None:
    assert "users" in run("user", code=2).stderr


@pytest.mark.usefixtures("gallery")
def test_status_does_not_load_the_model(settings: Settings) -> None:
    """It is loaded if its files may differ from those of the gallery, because then the engine says what is wrong."""
    with Gallery.open(settings) as fresh:
        assert fresh.status().execution_provider == "CPUExecutionProvider"
        assert fresh._model._engine is None
    os.unlink(settings.models_dir / "buffalo_sc_q8")
    with Gallery.open(settings) as fresh:
        assert fresh.status().model_problem is not None
