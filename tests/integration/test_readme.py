"""A reader can follow the README, and its output and length are right. Both languages have the same commands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgface.database.embedded.server import EmbeddedPostgres
from support.documentation import Reader, blocks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.id.md")


@pytest.fixture
def reader(tmp_path: Path, faces_dir: Path) -> Iterator[Reader]:
    """Create a shell in a folder with three photos of one person, and without a server."""
    data_dir = tmp_path / "data"
    reader = Reader(tmp_path / "reader", {"PGFACE_DATA_DIR": str(data_dir)})
    for number in (1, 2, 3):
        shutil.copy(
            faces_dir / "Donald_Rumsfeld" / f"Donald_Rumsfeld_{number:04}.jpg", reader.folder / f"alice{number}.jpg"
        )
    yield reader
    EmbeddedPostgres(data_dir / "postgres").stop(force=True)


def test_the_readme_can_be_followed(reader: Reader) -> None:
    reader.run("pgface postgres start")  # otherwise each command starts and stops the server
    said = reader.follow("../../README.md")
    assert re.search(r"^Alice 0\.8\d True$", said, re.MULTILINE)
    assert re.search(r"^ Alice +\| +1$", said, re.MULTILINE)
    assert re.search(r"^ Alice +\| t$", said, re.MULTILINE)
    assert (reader.folder / "answer.png").is_file()


def test_blocks_that_tests_do_not_run_say_why() -> None:
    reasons = {block.not_run for readme in READMES for block in blocks(f"../../{readme}")}
    assert reasons == {None, "it installs packages", "it serves until it is ended"}


def test_both_languages_show_the_same_commands() -> None:
    english, indonesian = (blocks(f"../../{readme}") for readme in READMES)
    without_comments = [
        [(block.language, re.sub(" +#.*", "", block.text)) for block in one] for one in (english, indonesian)
    ]
    assert without_comments[0] == without_comments[1]


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(re.sub(r"\]\([^)]*\)|<!--.*?-->|^```.*?^```$", "", text, flags=re.S | re.M).split()) <= 450
    (features,) = re.findall(r"^## Features\n\n((?:- .+\n)+)", text, re.MULTILINE)
    assert len(features.splitlines()) == 8
    assert all(len(feature.removeprefix("- ").split()) <= 8 for feature in features.splitlines())
