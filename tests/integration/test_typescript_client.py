"""The TypeScript client, built and run by Node against the real service."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgface.accounts import Client, create_key
from support.commands import without_settings
from support.documentation import blocks, without_numbers
from support.web_service import Running, gallery_for_a_process, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "typescript"
PEOPLE = {"alice1": ("Colin_Powell", 1), "alice2": ("Colin_Powell", 2), "other": ("Tony_Blair", 3)}
"""The photos that the client's tests send."""
MIN_NODE = 20
TIMEOUT = 120
"""Seconds after which a program of Node has failed."""


def node(folder: Path, *command: str, **variables: str) -> str:
    """Run a program of Node in a folder, and return what it printed."""
    environment = {**without_settings(), "NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def skip_without_node(folder: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node and npm are not on this machine")
    version = node(folder, "node", "--version").strip()
    if int(version.removeprefix("v").partition(".")[0]) < MIN_NODE:
        pytest.skip(f"Node {version} is on this machine, and the client needs {MIN_NODE}")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package, built with the program of the how-to page beside the tests."""
    skip_without_node(tmp_path_factory.getbasetemp())
    package = tmp_path_factory.mktemp("clients") / "typescript"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("node_modules", "dist"))
    program = (block.text for block in blocks("typescript.md") if block.language == "typescript")
    (package / "test" / "page.ts").write_text("\n".join(program), encoding="utf-8")
    node(package, "npm", "ci", "--prefer-offline", "--ignore-scripts")
    node(package, "node", "node_modules/typescript/bin/tsc")
    return package


@dataclass(frozen=True)
class Place:
    """A running service, a key for all galleries, and a folder with photos."""

    service: Running
    key: str
    photos: Path


@pytest.fixture(scope="module")
def place(
    postgres: str, tmp_path_factory: pytest.TempPathFactory, insightface_pack: Path, faces_dir: Path
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    for name, (person, number) in PEOPLE.items():
        shutil.copy(faces_dir / person / f"{person}_{number:04}.jpg", folder / f"{name}.jpg")
    with gallery_for_a_process(postgres, folder, insightface_pack) as gallery:
        key, _ = create_key(gallery.owner.database, "tests", ["admin"], Client(), all_galleries=True)
        with running(folder / "service", gallery.environment | {"PGFACE_WORKERS": "1"}) as service:
            yield Place(service, key, folder)


def test_the_client_and_the_program_of_the_page(package: Path, place: Place) -> None:
    variables = {"PGFACE_URL": place.service.url, "PGFACE_KEY": place.key, "PHOTOS": str(place.photos)}
    tests = sorted(str(file) for file in (package / "dist" / "test").glob("*.test.js"))
    said = node(package, "node", "--test", "--test-reporter", "tap", *tests, **variables)
    passed, skipped = (int(re.findall(rf"^# {word} (\d+)$", said, re.MULTILINE)[0]) for word in ("pass", "skipped"))
    assert (passed > 20, skipped) == (True, 0)
    printed = node(place.photos, "node", str(package / "dist" / "test" / "page.js"), **variables)
    (shown,) = (block.text for block in blocks("typescript.md") if block.language == "text")
    assert without_numbers(printed) == without_numbers(shown)
    assert place.key not in str(place.service.log())
