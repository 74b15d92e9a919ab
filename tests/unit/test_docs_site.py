"""The pages as a site: what Sphinx finds wrong with them fails the build, and nothing in it comes from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make docs` does, but into a folder of the test's own."""
    (command,) = re.findall(r"\$\(BIN\)/sphinx-build (.+) docs docs/_build\n", (ROOT / "Makefile").read_text("utf-8"))
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *command.split(), str(source), str(site)],
        env=os.environ | {"NO_COLOR": "1"},  # where CI is set, it colours what no terminal shows
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the pages, and of the files outside of them that they link to."""
    for linked in (
        "src/pgface/faces/engines/dlib_lift.npy",
        "examples/flask_login/app.py",
        "examples/flask_introspection/app.py",
    ):
        (tmp_path / linked).parent.mkdir(parents=True)
        shutil.copy(ROOT / linked, tmp_path / linked)
    return Path(shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build")))


def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path / "site")
    assert (done.returncode, done.stderr) == (0, "")
    pages = {page.relative_to(tmp_path / "site").with_suffix(".md") for page in (tmp_path / "site").rglob("*.html")}
    assert pages >= {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    python = (tmp_path / "site" / "reference" / "python.html").read_text("utf-8")
    for name in ("pgface.Gallery.identify", "pgface.Match", "pgface.errors.NoFaceError"):
        assert f'id="{name}"' in python, name
    searched = (tmp_path / "site" / "searchindex.js").read_text("utf-8")
    assert "how-to/behind-a-proxy" in searched
    assert "searchtools.js" in (tmp_path / "site" / "search.html").read_text("utf-8")
    for file in [*(tmp_path / "site").rglob("*.html"), *(tmp_path / "site").rglob("*.css")]:
        text = file.read_text("utf-8")
        loaded = re.findall(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]*)""", text)
        loaded += re.findall(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]*)""", text)
        assert loaded == [], file


def test_faults_of_pages_fail_the_build(source: Path) -> None:
    with (source / "how-to" / "migration.md").open("a", encoding="utf-8") as page:
        page.write(
            "\n[a page](no-such-page.md) [a heading](backup.md#no-such-heading) [a file](../../src/no-such-file.py)\n"
            "\n#### A heading that skips a level\n"
        )
    (source / "how-to" / "forgotten.md").write_text("# Forgotten\n", encoding="utf-8")
    done = build(source, source / "_build")
    assert done.returncode == 1
    faults = [line.partition("WARNING: ")[2] for line in done.stderr.splitlines() if "WARNING: " in line]
    assert sorted(faults) == [
        "'myst' cross-reference target not found: '../../src/no-such-file.py' [myst.xref_missing]",
        "'myst' cross-reference target not found: 'no-such-page.md' [myst.xref_missing]",
        "Non-consecutive header level increase; H2 to H4 [myst.header]",
        "document isn't included in any toctree [toc.not_included]",
        "local id not found in doc 'how-to/backup': 'no-such-heading' [myst.xref_missing]",
    ]
