"""The examples in the docstrings of the gallery run, and print what they say."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgface.gallery import gallery as gallery_module
from pgface.settings import get_settings
from support.photos import Photos


@pytest.fixture
def environment(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PGFACE_DATABASE_URL", database_url)
    monkeypatch.setenv("PGFACE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_the_examples_of_the_gallery_run(environment: Path, photos: Photos) -> None:
    for name, number in (("alice.jpg", 1), ("someone.jpg", 5)):
        shutil.copy(photos("Colin_Powell", number), environment / name)
    failed, tried = doctest.testmod(gallery_module)
    assert tried > 0
    assert failed == 0
