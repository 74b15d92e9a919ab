"""The documentation site: its build fails on warnings, it loads nothing from other hosts, and its search works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from support.chromium import program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SPHINX = "import gc, sys; gc.disable(); from sphinx.cmd.build import main; sys.exit(main(sys.argv[1:]))"
"""Without the search for garbage, a build takes a fifth less processor time."""


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site with the command of `make docs`, but into another folder."""
    (command,) = re.findall(r"\$\(BIN\)/sphinx-build (.+) docs docs/_build\n", (ROOT / "Makefile").read_text("utf-8"))
    return subprocess.run(
        [sys.executable, "-c", SPHINX, *command.split(), str(source), str(site)],
        env=os.environ | {"NO_COLOR": "1"},  # with CI set, Sphinx colours its output even without a terminal
        capture_output=True,
        text=True,
        check=False,
    )


def copy_of_the_pages(folder: Path) -> Path:
    """Copy the pages, and the files outside of `docs` that they link to."""
    for linked in (
        "src/pgface/faces/engines/dlib_lift.npy",
        "examples/flask_login/app.py",
        "examples/flask_introspection/app.py",
    ):
        (folder / linked).parent.mkdir(parents=True)
        shutil.copy(ROOT / linked, folder / linked)
    return Path(shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("_build")))


@dataclass(frozen=True)
class Built:
    """The site of the pages, to which faults were added. A build takes half a minute, so all tests share one."""

    site: Path
    exit_code: int
    errors: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("docs")
    source = copy_of_the_pages(folder)
    with (source / "how-to" / "migration.md").open("a", encoding="utf-8") as page:
        page.write(
            "\n[a page](no-such-page.md) [a heading](backup.md#no-such-heading) [a file](../../src/no-such-file.py)\n"
            "\n#### A heading that skips a level\n"
        )
    (source / "how-to" / "forgotten.md").write_text("# Forgotten\n", encoding="utf-8")
    done = build(source, folder / "site")
    return Built(folder / "site", done.returncode, done.stderr)


@pytest.fixture
def site(built: Built) -> Path:
    return built.site


def test_the_site_has_every_page_and_public_name(site: Path) -> None:
    pages = {page.relative_to(site).with_suffix(".md") for page in site.rglob("*.html")}
    assert pages >= {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    python = (site / "reference" / "python.html").read_text("utf-8")
    for name in ("pgface.Gallery.identify", "pgface.Match", "pgface.errors.NoFaceError"):
        assert f'id="{name}"' in python, name


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    for file in [*site.rglob("*.html"), *site.rglob("*.css")]:
        text = file.read_text("utf-8")
        loaded = re.findall(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]*)""", text)
        loaded += re.findall(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]*)""", text)
        assert loaded == [], file


def test_the_search_ranks_guides_above_decisions_and_research(site: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--disable-gpu"], chromium_sandbox=False)
        tab = browser.new_page()
        for words, guide in [
            ("threshold", "thresholds"),
            ("login by face", "accounts"),
            ("index", "index-tuning"),
            ("backup", "backup"),
        ]:
            tab.goto(f"{(site / 'search.html').as_uri()}?q={words}")
            tab.get_by_text("Search finished").wait_for()
            links = tab.locator("#search-results li > a")
            found = [str(link.get_attribute("href")).partition("#")[0] for link in links.all()]
            assert found[0] == f"how-to/{guide}.html", words
            guides = [number for number, page in enumerate(found) if re.match(r"how-to/[a-z-]+\.html", page)]
            notes = [number for number, page in enumerate(found) if page.startswith(("decisions/", "research/"))]
            assert max(guides) < min(notes), words
        browser.close()


def test_faults_fail_the_build_and_the_pages_have_no_others(built: Built) -> None:
    assert built.exit_code == 1
    assert all("WARNING: " in line for line in built.errors.splitlines())
    faults = [line.partition("WARNING: ")[2] for line in built.errors.splitlines() if "WARNING: " in line]
    assert sorted(faults) == [
        "'myst' cross-reference target not found: '../../src/no-such-file.py' [myst.xref_missing]",
        "'myst' cross-reference target not found: 'no-such-page.md' [myst.xref_missing]",
        "Non-consecutive header level increase; H2 to H4 [myst.header]",
        "document isn't included in any toctree [toc.not_included]",
        "local id not found in doc 'how-to/backup': 'no-such-heading' [myst.xref_missing]",
    ]
