"""The documentation agrees with the code, and keeps the rules of style."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import sizing

from pgface.cli.commands import GROUPS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def load_docs_module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def generator() -> ModuleType:
    return load_docs_module("generate")


@pytest.mark.parametrize("page", ["command-line.md", "settings.md", "http-api.md", "openapi.json"])
def test_the_generated_pages_are_current(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert written == getattr(generator(), page.partition(".")[0].replace("-", "_"))(), "run `make docs`"


def test_the_tables_of_sizing_are_current() -> None:
    page = sizing.PAGE.read_text(encoding="utf-8")
    assert {name for name in sizing.TABLES if f"<!-- table: {name} -->" in page} == set(sizing.TABLES)
    assert page == sizing.write_tables(page), "run `make docs`"
    assert page != sizing.write_tables(page, sizing.Costs(second_look_ms=151))


def test_sizing_follows_the_measured_gallery() -> None:
    """A million faces, five of each person, as docs/research/search.md has them."""
    costs = sizing.Costs()
    assert sizing.people(costs, 10**6) == 0.2
    assert sizing.stranger_ms(costs, 10**6) == pytest.approx(34, rel=0.1)
    assert sizing.mated_ms(costs, 10**5) == pytest.approx(1.0, rel=0.01)
    assert sizing.mated_ms(costs, 10**7) == pytest.approx(10, rel=0.05)
    # 1,000 requests/s with one stranger in ten: 1000 × (0.9 × 3.2 + 0.1 × 33.2) ms, at 60 % of each core.
    even = sizing.Costs(mated_ms=3.2, second_look_ms=150, busy=0.6)
    assert sizing.search_cores(even, 10**6, 1000, 0.1) == pytest.approx(6.2 / 0.6)


def test_every_cost_names_its_source() -> None:
    for name, _, meaning, basis, source in list(sizing.unit_costs(sizing.Costs()))[1:]:
        assert meaning, name
        assert source, name
        assert basis in {"measured", "published", "assumed", "default"}


def test_every_command_and_option_says_what_it_is_for() -> None:
    lines = generator().command_line().splitlines()
    options = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert len(options) > 150
    assert [option for option in options if len(option) != 4 or not option[1].strip() or option[3].strip() == "|"] == []
    helps = [lines[number + 2] for number, line in enumerate(lines) if line.startswith("### ")]
    assert len(helps) > 50
    assert [text for text in helps if not text.endswith(".")] == []


def test_the_page_groups_the_commands_as_their_help_does() -> None:
    titles = [line.removeprefix("## ") for line in generator().command_line().splitlines() if line.startswith("## ")]
    assert titles == list(GROUPS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_to_existing_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_paths_that_pages_name_exist() -> None:
    named = {
        (page.name, path)
        for page in [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
        for path in re.findall(r"`((?:src|tests|benchmarks|examples|scripts|docs)/[\w./-]+)`", page.read_text("utf-8"))
    }
    assert len(named) > 30
    assert [(page, path) for page, path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_python_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    described = set(re.findall(r"autoclass:: pgface\.(\w+)$", page, re.MULTILINE))
    assert described | {"PgfaceError"} == set(importlib.import_module("pgface").__all__)
    assert "automodule:: pgface.errors" in page


def test_decisions_have_a_status_and_a_date() -> None:
    for page in (ROOT / "docs" / "decisions").iterdir():
        lines = page.read_text("utf-8").split("\n")
        assert lines[0].startswith(f"# {int(page.name[:4])}. ")
        assert re.match(r"Status: (?:accepted|superseded)\..* Date: \d{4}-\d\d-\d\d", " ".join(lines[2:4])), page.name


def test_the_page_of_the_specification_has_its_sections() -> None:
    page = (ROOT / "docs" / "reference" / "specification.md").read_text("utf-8")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == [
        "init.sql",
        "Verification queries",
        "docker-compose.yml",
        "1. IVFFLAT index tuning",
        "2. Similarity threshold guidelines",
        "3. Migration from NPY to PostgreSQL",
        "4. Performance considerations",
        "5. Backup and recovery",
        "Quick start",
        "Troubleshooting",
        "Advantages of PostgreSQL and pgvector",
    ]
    reference = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    commands = re.findall(r"`(?:docker compose run --rm )?(pgface [a-z-]+(?: (?:build|status|psql))?)\b", page)
    assert len(commands) > 15
    assert [command for command in commands if f"## `{command}`" not in reference] == []


def faults(page: Path, text: str) -> list[str]:
    page.write_text(text, encoding="utf-8")
    return list(load_docs_module("prose").faults(page, page.parent))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A line of code `nobody` and [a link](nobody.md).", None),
        ("```text\nnobody\n```", None),
        ("> a sentence of the program that nobody; sees", None),
        ("This is for nobody.", "page.md:1: “nobody”: name the role or the thing: you, a user, a client, no user"),
        ("It was\nmended.", "page.md:2: “mended”: fix"),
        ("Run `pgface", "page.md:1: code goes on in the next line"),
        ("word " * 24 + "end.", "page.md:1: 124 characters, at most 120"),
        ("word\n" * 41, "page.md: 41 words, at most 40: " + ("word " * 12) + "…"),
        ("Word is\nshort. " * 20, None),
    ],
)
def test_the_check_of_style(text: str, fault: str | None, tmp_path: Path) -> None:
    assert faults(tmp_path / "page.md", text) == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ('raise GalleryError(f"There is no index {method}; choose one.")', "“…; choose”: two sentences"),
        (
            'def run():\n    """Run it for whoever asks first."""',
            "“whoever”: name the role or the thing: you, a user, a client, no user",
        ),
        ('def run():\n    """It runs; then it ends."""', "“runs; then”: two sentences"),
        ('said = f"The link of {name} opens nothing."', "“opens nothing”: no longer works"),
        ('said = "The sizes (a small one; a large one) differ."', None),
        ('said = "SELECT name FROM users; COMMIT"', None),
        ('said = "DROP FUNCTION verify_face; run it twice"', None),
        ('event = "user erased"', None),
        ('said = f"Use `{a}; {b}` in psql"', None),
    ],
)
def test_the_check_of_style_reads_the_code(code: str, fault: str | None, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(code, encoding="utf-8")
    found = [text.split(": ", 1)[1] for text in load_docs_module("prose").faults_of_code(module, tmp_path)]
    assert found == ([fault] if fault else [])


def test_the_figures_of_prose() -> None:
    prose = load_docs_module("prose")
    figures = prose.Figures.of(
        [prose.prose("# Title\n\nYou see it; I do. `x` is\nyours.\n\n- One.\n- Nobody.\n\n| a; |\n")]
    )
    assert (figures.words, figures.sentences, figures.semicolons, figures.persons, figures.you) == (10, 4, 1, 1, 2)
