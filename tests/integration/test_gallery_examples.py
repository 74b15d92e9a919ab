"""The examples in the docstrings of `Gallery`."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgface import Gallery
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
    (environment / "people" / "Gerhard_Schroeder").mkdir(parents=True)
    for name, person, number in (
        ("alice.jpg", "Colin_Powell", 1),
        ("someone.jpg", "Colin_Powell", 5),
        ("bob.jpg", "George_W_Bush", 7),
        ("people/Gerhard_Schroeder/1.jpg", "Gerhard_Schroeder", 1),
        ("people/Gerhard_Schroeder/2.jpg", "Gerhard_Schroeder", 2),
    ):
        shutil.copy(photos(person, number), environment / name)
    with Gallery.create() as gallery:
        failed, tried = doctest.testmod(gallery_module, extraglobs={"gallery": gallery})
    assert tried > 10
    assert failed == 0
