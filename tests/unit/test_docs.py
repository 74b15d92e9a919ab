"""The documentation follows the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from pgface.cli.commands import GROUPS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["command-line.md", "settings.md", "http-api.md", "openapi.json"])
def test_the_generated_pages_are_current(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert written == getattr(generator(), page.partition(".")[0].replace("-", "_"))(), "run `make docs`"


def test_every_command_and_option_says_what_it_is_for() -> None:
    lines = generator().command_line().splitlines()
    options = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert len(options) > 150
    assert [option for option in options if len(option) != 4 or not option[1].strip() or option[3].strip() == "|"] == []
    helps = [lines[number + 2] for number, line in enumerate(lines) if line.startswith("### ")]
    assert len(helps) > 50
    assert [text for text in helps if not text.endswith(".")] == []


def test_the_commands_stand_in_the_groups_of_their_help() -> None:
    titles = [line.removeprefix("## ") for line in generator().command_line().splitlines() if line.startswith("## ")]
    assert titles == list(GROUPS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
